"""The service keeps what its OpenAPI description promises, whatever is sent."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    use_after_free,
]
KEPT = {"suppress_health_check": list(HealthCheck), "deadline": None, "database": None, "derandomize": True}


@pytest.mark.slow
def test_schemathesis_finds_nothing(live):
    schema = schemathesis.openapi.from_url(f"{live.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {operation.path for operation in operations} == {
        "/v1/segment",
        "/v1/model",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    for operation in operations:

        @settings(max_examples=40 if operation.path == "/v1/segment" else 5, **KEPT)
        @given(operation.as_strategy())
        def ask(case):
            case.call_and_validate(base_url=live.url, checks=CHECKS)

        ask()


@settings(max_examples=30, **KEPT)
@given(
    start=st.sampled_from(
        [b"", b"II*\0", b"MM\0*", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10JFIF"]
    ),
    rest=st.binary(max_size=400),
    accept=st.sampled_from(["*/*", "image/tiff", "application/geo+json", "q=;;,", ",,,", "image/png;q=abc"]),
)
def test_bytes_after_a_true_beginning_are_refused_with_a_problem(live, start, rest, accept):
    response = httpx.post(f"{live.url}/v1/segment", content=start + rest, headers={"accept": accept})
    assert response.status_code in {406, 413, 415, 422}
    assert response.headers["content-type"] == "application/problem+json"


def test_description_has_an_example_of_every_answer(live):
    described = httpx.get(f"{live.url}/openapi.json").json()["paths"]["/v1/segment"]["post"]
    assert set(described["requestBody"]["content"]) == {"image/tiff", "image/png", "image/jpeg"}
    for status, answer in described["responses"].items():
        content = answer["content"].get("application/problem+json") or answer["content"]["application/geo+json"]
        assert "example" in content, status
