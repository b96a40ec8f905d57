"""Who may ask: API keys compared in constant time; without any, only this machine."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping

from satseg.errors import ConfigurationError
from satseg.serving.problems import NoAccessError

LEAST_CHARACTERS = 16
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="satseg"'}


class Keys:
    """The keys that open the service; none lets everybody in who reaches it."""

    def __init__(self, text: str | None) -> None:
        """Read keys separated by commas.

        Raises:
            ConfigurationError: a key is too short to be a secret.
        """
        keys = [key.strip() for key in (text or "").split(",") if key.strip()]
        if any(len(key) < LEAST_CHARACTERS for key in keys):
            raise ConfigurationError(
                f"SATSEG_SERVE_KEYS holds a key of fewer than {LEAST_CHARACTERS} characters. "
                "Make keys with: openssl rand -hex 24"
            )
        # digests have one length, so that comparing takes the same time for every guess
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, headers: Mapping[str, str]) -> None:
        """Let a request with a right key in X-API-Key or Authorization: Bearer pass.

        Raises:
            NoAccessError: there is no key, or none that is right.
        """
        if not self._digests:
            return
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
        if not given:
            raise NoAccessError("This service wants a key: send it as X-API-Key or Authorization: Bearer.", _CHALLENGE)
        digest = _digest(given)
        # all are compared, whichever is right
        if sum(hmac.compare_digest(digest, known) for known in self._digests) == 0:
            raise NoAccessError("The key is not right.", _CHALLENGE)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine alone."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_binding(host: str, keys: Keys) -> None:
    """Refuse to open a service without keys to the network.

    Raises:
        ConfigurationError: there are no keys and the address is not loopback.
    """
    if not keys and not is_loopback(host):
        raise ConfigurationError(
            f"Without API keys the service listens on this machine only, not on {host}. "
            "Set SATSEG_SERVE_KEYS (openssl rand -hex 24 makes a key), or SATSEG_SERVE_HOST=127.0.0.1."
        )
