"""Keys and binding."""

import httpx
import pytest
from serving_pictures import png

from satseg.errors import ConfigurationError
from satseg.serving.keys import Keys, check_binding

FIRST, SECOND = "0123456789abcdef01", "fedcba9876543210xx"


def test_only_right_keys_open_the_service_and_only_health_is_open(start, image):
    live = start(keys=f"{FIRST}, {SECOND}")
    body = png(image)
    for headers in ({}, {"x-api-key": "wrong"}, {"x-api-key": FIRST[:-1]}, {"authorization": f"Basic {FIRST}"}):
        refused = live.post(body, **headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
    for headers in ({"x-api-key": FIRST}, {"authorization": f"Bearer {SECOND}"}):
        assert live.post(body, **headers).status_code == 200
    for path in ("/metrics", "/v1/model", "/openapi.json", "/nowhere"):
        assert httpx.get(live.url + path).status_code == 401
    for path in ("/healthz", "/readyz"):
        assert httpx.get(live.url + path).status_code == 200
    schema = httpx.get(f"{live.url}/openapi.json", headers={"x-api-key": FIRST}).json()
    assert schema["paths"]["/v1/segment"]["post"]["security"] == [{"key": []}, {"bearer": []}]
    assert "security" not in schema["paths"]["/healthz"]["get"]


def test_with_keys_any_host_name_is_served(start, image):
    live = start(keys=FIRST)
    assert live.post(png(image), **{"x-api-key": FIRST, "host": "maps.example.org"}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "maps.example.org"])
def test_without_keys_the_network_is_refused(host):
    with pytest.raises(ConfigurationError, match=r"this machine only, not on .*SATSEG_SERVE_KEYS"):
        check_binding(host, Keys(None))
    check_binding(host, Keys(FIRST))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_without_keys_this_machine_is_served(host):
    check_binding(host, Keys(" , "))


def test_key_that_is_no_secret_is_refused():
    with pytest.raises(ConfigurationError, match="fewer than 16 characters"):
        Keys("secret")
