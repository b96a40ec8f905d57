"""satseg inside Airflow's API server: REST API and page under /satseg, and the page's place in the navigation."""

from typing import Any, ClassVar
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin
from satseg_ui.mounted import PREFIX, MountedApp, PreparedAtStart

ROOT_PATH = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
MOUNTED = MountedApp()


class SatsegPlugin(AirflowPlugin):  # type: ignore[misc]
    """Mounts the app; who may do what is asked of Airflow's auth manager."""

    name = "satseg"
    fastapi_apps: ClassVar[list[Any]] = [{"app": MOUNTED, "url_prefix": PREFIX, "name": "satseg"}]
    fastapi_root_middlewares: ClassVar[list[Any]] = [
        {"middleware": PreparedAtStart, "kwargs": {"prepare": MOUNTED.prepare}, "name": "satseg"}
    ]
    external_views: ClassVar[list[Any]] = [
        {
            "name": "satseg",
            "href": f"{ROOT_PATH}{PREFIX}/page/",
            "destination": "nav",
            "url_route": "satseg",
            "category": "browse",
        }
    ]
