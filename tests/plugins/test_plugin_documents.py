"""The OpenAPI document and the reference made from it are true, and no request that fits it makes the server fail."""

import sys

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from plugin_server import API
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from airflow_home import ROOT

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
KEPT = {"suppress_health_check": list(HealthCheck), "deadline": None, "database": None, "derandomize": True}


@pytest.fixture(scope="session")
def document(server):
    return server.client.get(f"{API}/openapi.json", headers=server.bearer("viewer")).json()


def operations(document):
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_reference_is_current() -> None:
    sys.path[:0] = [str(ROOT / "docs" / "reference"), str(ROOT / "plugins")]
    from satseg_ui.app import create_rest
    from write_rest import page

    made = page(create_rest().openapi())
    written = (ROOT / "docs" / "reference" / "rest.md").read_text(encoding="utf-8")
    assert written == made, "run: python docs/reference/write_rest.py"


def test_every_operation_is_described_and_every_json_has_an_example_that_fits(document) -> None:
    checked = 0
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert "401" in operation["responses"], name
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for about in (body.get("content", {}).get("application/json") for body in bodies):
            if about and about["schema"]:
                schema = about["schema"] | {"components": document["components"]}
                jsonschema.Draft202012Validator(schema).validate(about["example"])
                checked += 1
    assert checked > 40


def test_every_write_says_which_right_it_needs(document) -> None:
    for name, operation in operations(document):
        assert ("x-needs" in operation) == (not name.startswith("GET")), name


@pytest.mark.slow
def test_schemathesis_finds_no_failure_and_no_answer_that_is_not_described(server) -> None:
    headers = server.bearer("admin")
    schema = schemathesis.openapi.from_asgi(f"{API}/openapi.json", app=server.client.app, headers=headers)
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) > 40
    for operation in found:

        @settings(max_examples=8, **KEPT)
        @given(operation.as_strategy())
        def ask(case):
            case.call_and_validate(checks=CHECKS, headers=headers)

        ask()
