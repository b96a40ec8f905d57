"""A real server in a thread, answering with a tiny ONNX model whose probabilities are known: red / 255."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import uvicorn

from model_descriptions import describe
from satseg.config.project import ProjectConfig
from satseg.inference.chosen_model import ChosenModel
from satseg.models.exports import EngineChoice
from satseg.models.interface import ModelDescription
from satseg.serving.app import create_app
from satseg.serving.batching import Batcher
from satseg.serving.champion import Champion, ServedModel
from satseg.serving.intake import Limits
from satseg.serving.keys import Keys
from satseg.serving.metrics import Metrics
from satseg.serving.protocol import HeaderTimeoutProtocol
from satseg.serving.request_log import RequestLog
from satseg.serving.service import Service

TILE_PX = 64
MAX_PIXELS = 400_000
MAX_BODY = 2_000_000
BODY_TIMEOUT_S = 1.5


def write_model(folder: Path, gain: float = 1.0) -> Path:
    """Write model.onnx and model.json: the probability is gain · red / 255."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = numpy_helper.from_array(np.array([gain / 255, 0, 0], np.float32).reshape(1, 3, 1, 1), "weights")
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["scores"]),
        helper.make_node("Clip", ["scores", "zero", "one"], ["clipped"]),
        helper.make_node("Transpose", ["clipped"], ["probabilities"], perm=[0, 2, 3, 1]),
    ]
    limits = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("zero", 0), ("one", 1))]
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", "h", "w", 1])],
        [weights, *limits],
    )
    folder.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    (folder / "model.json").write_text(description().model_dump_json())
    return folder


def description() -> ModelDescription:
    return describe(dataset_version="v2")


def project() -> ProjectConfig:
    return ProjectConfig.model_validate(
        {
            "name": "roofs",
            "classes": ["building"],
            "gsd_m": 0.5,
            "drift": {"patch_px": 32},
            "inference": {"min_area_m2": 2, "simplify_m": 0.2},
        }
    )


@dataclass
class Live:
    """A running server and the strings that move it."""

    folder: Path
    keys: str | None = None
    max_waiting: int = 8
    champion_version: str | None = "1"
    url: str = ""
    loads: list[str] = field(default_factory=list)
    before_load: Callable[[str], None] = lambda version: None

    def load(self, version: str) -> ServedModel:
        """Load a version: the gain of the model is 1 / version."""
        self.loads.append(version)
        self.before_load(version)
        folder = write_model(self.folder / f"v{version}", 1 / int(version))
        chosen = ChosenModel(
            f"v{version}", version, "ab" * 16, "c0ffee", folder, description(), EngineChoice("onnx", folder)
        )
        return ServedModel(chosen, Batcher(EngineChoice("onnx", folder).load(1), 4, self.metrics.batches.observe))

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        self.metrics = Metrics()
        self.log = RequestLog(
            self.folder / "profiles",
            project(),
            days=3,
            bytes_per_day=1_000_000,
            on_entry=lambda outcome: self.metrics.profiles.labels(outcome).inc(),
        )
        self.champion = Champion(
            lambda: self.champion_version,
            self.load,
            every_s=0.05,
            on_change=lambda outcome: self.metrics.swaps.labels(outcome).inc(),
        )
        service = Service(project(), self.champion, self.metrics, self.log, tile_px=TILE_PX, max_pixels=MAX_PIXELS)
        app = create_app(service, Keys(self.keys), Limits(MAX_BODY, self.max_waiting, BODY_TIMEOUT_S), TILE_PX)
        config = uvicorn.Config(
            app,
            port=0,
            http=HeaderTimeoutProtocol.with_timeout(BODY_TIMEOUT_S),
            ws="none",
            log_level="error",
            timeout_graceful_shutdown=10,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        wait_for(lambda: self.server.started)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        wait_for(lambda: self.champion_version is None or httpx.get(f"{self.url}/readyz").status_code == 200)

    def stop(self) -> None:
        """Stop it as SIGTERM does."""
        self.server.should_exit = True
        self.thread.join()

    def post(self, body: bytes, accept: str = "image/png", **headers: str) -> httpx.Response:
        """Post an image."""
        return httpx.post(f"{self.url}/v1/segment", content=body, headers={"accept": accept, **headers}, timeout=30)

    def metric(self, line: str) -> float:
        """Return the value of a figure."""
        text = httpx.get(f"{self.url}/metrics").text
        return sum(float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line))


def wait_for(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
