"""Examples for the OpenAPI document, put together from the examples of the single fields."""

from typing import Any

DATE_TIME = "2026-11-23T12:00:00Z"
_OF_TYPE = {"string": "", "integer": 1, "number": 0.5, "boolean": False, "null": None}


def example_of(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return a value that fits a JSON schema; `schemas` are those that a `$ref` may name."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rsplit("/", 1)[-1]], schemas)
    if "examples" in schema:
        return schema["examples"][0]
    for name in ("const", "default"):
        if schema.get(name) is not None:
            return schema[name]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        others = [option for option in schema["anyOf"] if option.get("type") != "null"]
        plain = len(others) < len(schema["anyOf"]) and "$ref" not in others[0]
        return None if plain else example_of(others[0], schemas)  # an empty string would say nothing
    return _by_type(schema, schemas)


def _by_type(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        known = {name: example_of(field, schemas) for name, field in schema.get("properties", {}).items()}
        more = schema.get("additionalProperties")
        name = schema.get("propertyNames", {}).get("enum", ["name"])[0]
        return known or ({name: example_of(more, schemas)} if isinstance(more, dict) and more else {})
    if kind == "array":
        return [example_of(schema["items"], schemas)] if schema.get("items") else []
    if schema.get("format") == "date-time":
        return DATE_TIME
    return _OF_TYPE.get(str(kind))


def add_examples(document: dict[str, Any]) -> None:
    """Give every JSON body and answer of an OpenAPI document that has no example one."""
    schemas = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (body.get("content", {}) for body in bodies):
                about = content.get("application/json")
                if about and about.get("schema"):
                    about.setdefault("example", example_of(about["schema"], schemas))
