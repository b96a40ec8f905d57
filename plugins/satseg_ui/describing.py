"""What the OpenAPI document says besides the routes: how to log in, what errors look like."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from satseg_ui.example_values import add_examples
from satseg_ui.mounted import PREFIX
from satseg_ui.problems import MEDIA_TYPE, Problem
from satseg_ui.rights import DAG_OF, OF_OPERATORS

ABOUT = (
    "Data, models, drift and health of satseg, inside Airflow's API server. Log in as at Airflow's own API: a token "
    "from `POST /auth/token` in the header `Authorization: Bearer …`, or the cookie of the web pages. Reading needs "
    "the right to see the project's DAGs, starting work the right to run the DAG behind it; promotion, rollback and "
    "approval also the right to write assets, which operators and admins have. Whatever starts work answers 202 with "
    "the DAG run."
)
_DETAILS = {
    HTTPStatus.UNAUTHORIZED: "Nobody is logged in.",
    HTTPStatus.FORBIDDEN: "No right, or a write by cookie from a foreign page.",
    HTTPStatus.NOT_FOUND: "There is no such thing.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A value is wrong; `errors` names it.",
    HTTPStatus.SERVICE_UNAVAILABLE: "MLflow does not answer, or a lock is held: try again.",
}


def _problem(status: HTTPStatus, description: str) -> dict[str, Any]:
    example = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": description}
    reference = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": reference, "example": example}}}


PROBLEMS: dict[int | str, dict[str, Any]] = {int(status): _problem(status, words) for status, words in _DETAILS.items()}
_OF_WRITES = {
    HTTPStatus.BAD_REQUEST: "The request cannot be read.",
    HTTPStatus.CONFLICT: "It is there already, or was answered already.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
}
_OF_UPLOADS = {
    HTTPStatus.REQUEST_TIMEOUT: "The file stopped coming.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Neither a scene nor a label file by its ending.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many uploads are under way.",
    HTTPStatus.INSUFFICIENT_STORAGE: "The disk is full.",
}


def describe_login(app: FastAPI) -> None:
    """Add to the OpenAPI document how to log in, where the app is mounted, and the problems of writes."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        schema = plain()
        schema["servers"] = [{"url": PREFIX}]
        components = schema.setdefault("components", {})
        components["schemas"] = dict(sorted((components["schemas"] | _problem_schemas()).items()))
        for unused in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(unused, None)
        components["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer"},
            "cookie": {"type": "apiKey", "in": "cookie", "name": "_token"},
        }
        schema["security"] = [{"token": []}, {"cookie": []}]
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                _add_problems(operation, path, method)
        _add_rights(app, schema["paths"])
        add_examples(schema)
        return schema

    app.openapi = described  # type: ignore[method-assign]


def _add_problems(operation: dict[str, Any], path: str, method: str) -> None:
    more = {} if method == "get" else dict(_OF_WRITES)
    if path.endswith("/incoming/{name}") and method == "put":
        more |= _OF_UPLOADS
    operation["responses"] |= {str(int(status)): _problem(status, words) for status, words in more.items()}


def _add_rights(app: FastAPI, paths: dict[str, Any]) -> None:
    """Say of each write which DAG one has to be allowed to run."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for one in route.dependant.dependencies:
            action = getattr(one.call, "action", None)
            if action is not None:
                assets = " and to write assets" if action in OF_OPERATORS else ""
                needs = f"to run the DAG {DAG_OF[action]} of the project{assets}"
                path = route.path_format
                for method in route.methods:
                    paths[path][method.lower()]["x-needs"] = needs


def _problem_schemas() -> dict[str, Any]:
    made = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return made.pop("$defs", {}) | {Problem.__name__: made}
