"""Write rest.md from the OpenAPI document of the plugin.

python docs/reference/write_rest.py [FILE]
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = "Page_"
HEAD = """# REST API inside Airflow

<!-- written by docs/reference/write_rest.py; do not edit -->

{about}

Every address begins with `/satseg/api/v1`. The OpenAPI document is at `/satseg/api/v1/openapi.json`, behind the login.

```sh
AIRFLOW=http://127.0.0.1:8080
TOKEN=$(curl -s -X POST $AIRFLOW/auth/token -H 'Content-Type: application/json' \\
  -d '{{"username": "admin", "password": "…"}}' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
curl -s -H "Authorization: Bearer $TOKEN" $AIRFLOW/satseg/api/v1/projects
curl -s -H "Authorization: Bearer $TOKEN" -T scene.tif $AIRFLOW/satseg/api/v1/projects/buildings/incoming/scene.tif
curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"epochs": 20}}' \\
  $AIRFLOW/satseg/api/v1/projects/buildings/trainings
```

- **Lists** take `limit` (1 to 500, default 50) and `offset`, and answer `items`, `total`, `limit`, `offset`.
- **Errors** are problem documents (RFC 9457, `application/problem+json`): `title`, `status`, `detail` in words for
  people, and `errors` with `field` and `message` for values that are wrong. 401: no login. 403: no right, or a write by
  cookie from a foreign page. 503: MLflow does not answer or a lock is held; try again.
- **Writes** that start work answer 202 with the run of the DAG (shape `Started`) and a `Location` header. Airflow's
  audit log names the user.
"""


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document; an Airflow of its own, without a database, stands behind it."""
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg")}
        os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{home}/airflow.db"
        sys.path.insert(0, str(ROOT / "plugins"))
        from satseg_ui.app import create_rest

        return create_rest().openapi()


def page(document: dict[str, Any]) -> str:
    """Return the Markdown of an OpenAPI document."""
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append("\n".join(_route(path, method, operation)))
    parts = [HEAD.format(about=document["info"]["description"])]
    parts += [f"## {tag.capitalize()}\n\n" + "\n".join(routes) for tag, routes in by_tag.items()]
    parts.append("## Shapes\n")
    shapes = document["components"]["schemas"].items()
    parts += ["\n".join(_shape(name, schema)) for name, schema in shapes if not name.startswith(PAGE)]
    return "\n".join(parts).rstrip() + "\n"


def _route(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### `{method.upper()} {path.removeprefix('/api/v1')}`\n"
    yield f"{operation['summary']}. {_line(operation.get('description', ''))}\n"
    if needs := operation.get("x-needs"):
        yield f"Needs the right {needs}.\n"
    if rows := [_parameter(one) for one in operation.get("parameters", []) if one["name"] not in {"project"}]:
        yield "| parameter | | meaning |\n|---|---|---|"
        yield "\n".join(rows) + "\n"
    if body := operation.get("requestBody"):
        yield f"Body: {_contents(body)}\n"
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            yield f"Answer {status}: {_contents(answer)}\n"


def _parameter(one: dict[str, Any]) -> str:
    default = one["schema"].get("default")
    what = f"{_type(one['schema'])}, {one['in']}" + ("" if default is None else f", default `{default}`")
    return f"| `{one['name']}` | {what} | {_line(one.get('description', ''))} |"


def _contents(body: dict[str, Any]) -> str:
    kinds = body.get("content", {})
    if not kinds:
        return "empty"
    media_type, about = next(iter(kinds.items()))
    if media_type != "application/json":
        return f"{body.get('description', '')} (`{media_type}`)"
    example = json.dumps(about.get("example"), ensure_ascii=False)
    shown = f", for example `{example}`" if len(example) < 200 else ""
    return _type(about["schema"]) + shown


def _shape(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### Shape {name}\n"
    yield f"{_line(schema.get('description', ''))}\n"
    if fields := schema.get("properties"):
        yield "| field | type | meaning |\n|---|---|---|"
        for field, about in fields.items():
            yield f"| `{field}` | {_type(about)} | {_line(about.get('description', ''))} |"
        yield ""
    elif "enum" in schema:
        yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".\n"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        plain = name.removeprefix(PAGE).removesuffix("_")
        return f"{'page of ' if name.startswith(PAGE) else ''}[{plain}](#shape-{plain.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type") or "any")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("rest.md")
    target.write_text(page(openapi()), encoding="utf-8")
