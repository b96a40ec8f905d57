"""The server the tests talk to: Airflow's app with the plugin, as users see it."""

from dataclasses import dataclass
from pathlib import Path

from starlette.testclient import TestClient

API = "/satseg/api/v1"


@dataclass(frozen=True)
class Server:
    """Airflow's app, the workspace behind it, and who may log in."""

    client: TestClient
    workspace: Path
    projects: Path
    tokens: dict[str, str]
    runs: list[str]

    def bearer(self, user: str) -> dict[str, str]:
        """Return the header of a user's token."""
        return {"Authorization": f"Bearer {self.tokens[user]}"}

    def cookie(self, user: str) -> dict[str, str]:
        """Return the header of a user's login cookie."""
        return {"Cookie": f"_token={self.tokens[user]}"}
