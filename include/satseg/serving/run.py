"""The process of the service: put together, started, and stopped without dropping a request."""

import signal
from functools import partial
from socket import socket

import uvicorn

from satseg.config.project import ProjectConfig
from satseg.config.settings import Settings
from satseg.progress import say
from satseg.serving.app import create_app
from satseg.serving.champion import Champion, Outcome, load_model
from satseg.serving.gate import Gate
from satseg.serving.intake import Limits
from satseg.serving.keys import Keys, check_binding
from satseg.serving.metrics import Metrics
from satseg.serving.protocol import HeaderTimeoutProtocol
from satseg.serving.request_log import RequestLog
from satseg.serving.service import Service
from satseg.storage.layout import Workspace
from satseg.tracking.models import alias_version

BACKLOG = 512
KEEP_ALIVE_S = 75  # longer than proxies and clients keep a connection, else one is closed while they use it


def build_app(project: ProjectConfig, workspace: Workspace, where: Settings) -> Gate:
    """Put the service of a project together; nothing is loaded before the application starts.

    Raises:
        ConfigurationError: a key is too short.
    """
    keys = Keys(where.serve_keys.get_secret_value() if where.serve_keys else None)
    metrics = Metrics()
    log = RequestLog(
        workspace.request_profiles(project.name),
        project,
        days=where.serve_log_days,
        bytes_per_day=int(where.serve_log_mib_per_day * 2**20),
        on_entry=lambda outcome: metrics.profiles.labels(outcome).inc(),
    )
    load = partial(
        load_model,
        workspace,
        project.name,
        engine=where.serve_engine,
        tile_px=where.serve_tile_px,
        most_tiles=where.serve_batch_tiles,
        threads=where.serve_threads,
        on_batch=metrics.batches.observe,
    )

    def count(outcome: Outcome) -> None:
        metrics.swaps.labels(outcome).inc()

    wanted = partial(alias_version, workspace, project.name, "champion")
    champion = Champion(wanted, load, every_s=where.serve_watch_s, on_change=count)
    service = Service(
        project,
        champion,
        metrics,
        log,
        tile_px=where.serve_tile_px,
        max_pixels=int(where.serve_max_mpix * 1e6),
    )
    limits = Limits(int(where.serve_max_body_mib * 2**20), where.serve_max_waiting, where.serve_body_timeout_s)
    return create_app(service, keys, limits, where.serve_tile_px)


class _Server(uvicorn.Server):
    """Says where it listens."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for sock in server.sockets:
                host, port = sock.getsockname()[:2]
                say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")


def serve(project: ProjectConfig, workspace: Workspace, where: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are answered first.

    Raises:
        ConfigurationError: there are no keys and the address is not loopback, or the port is taken.
    """
    check_binding(where.serve_host, Keys(where.serve_keys.get_secret_value() if where.serve_keys else None))
    config = uvicorn.Config(
        build_app(project, workspace, where),
        host=where.serve_host,
        port=where.serve_port,
        http=HeaderTimeoutProtocol.with_timeout(where.serve_body_timeout_s),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(where.serve_drain_s)),
    )
    # uvicorn sends itself the signal again once it has stopped
    signal.signal(signal.SIGTERM, lambda signum, frame: None)
    _Server(config).run()
    say("stopped; every request that was under way is answered")
