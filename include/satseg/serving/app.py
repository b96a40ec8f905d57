"""The web application around the service: addresses, formats and their description (OpenAPI)."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from satseg.errors import SatsegError
from satseg.progress import say
from satseg.serving import api_examples as examples
from satseg.serving.answers import chosen_kind, problem_json
from satseg.serving.gate import OPEN_PATHS, Gate, send_problem
from satseg.serving.intake import Intake, Limits
from satseg.serving.keys import Keys
from satseg.serving.problems import NotReadyError, RequestRefused
from satseg.serving.service import Answer, Service

SEGMENT, MODEL = "/v1/segment", "/v1/model"
HEALTH, READY, METRICS, OPENAPI = "/healthz", "/readyz", "/metrics", "/openapi.json"
PATHS = (SEGMENT, MODEL, HEALTH, READY, METRICS, OPENAPI)
THREADS = 16  # they mostly wait for the model; the pixels in their hands are bounded by the service


class ModelInfo(BaseModel):
    """The model that answers now."""

    project: str
    version: str = Field(description="Version of the registered model, such as v3.")
    run_id: str
    engine: str = Field(description="What runs it.")
    architecture: str
    backbone: str
    bands: list[str] = Field(description="Bands of an image, in this order.")
    dtype: str = Field(description="Pixel type of an image.")
    classes: list[str] = Field(description="Class ids count from 1; 0 is background.")
    gsd_m: float | None = Field(description="Georeferenced images are read at this ground sample distance.")
    threshold: float
    tile_px: int


class State(BaseModel):
    """Whether the service lives or can answer."""

    status: str
    detail: str | None = None


def create_app(service: Service, keys: Keys, limits: Limits, tile_px: int) -> Gate:
    """Build the application; the champion is watched from its start to its end."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="request")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.champion.start()
        yield
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, service.champion.stop)
        await loop.run_in_executor(None, service.log.close)
        pool.shutdown(wait=False)

    app = FastAPI(
        title=f"satseg: {service.project.name}",
        description=service.project.description or "Maps from images.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=OPENAPI,
    )
    _add_segment(app, service, pool, Intake(limits, service.metrics))
    _add_model(app, service, tile_px)
    _add_operation(app, service)
    _add_errors(app)
    if keys:
        _describe_keys(app)
    return Gate(app, keys, service.metrics, PATHS, say)


def _add_segment(app: FastAPI, service: Service, pool: ThreadPoolExecutor, intake: Intake) -> None:
    @app.post(
        SEGMENT,
        summary="Segment an image",
        operation_id="segment",
        responses=examples.SEGMENT_RESPONSES,
        response_class=Response,
        openapi_extra=examples.SEGMENT_REQUEST,
    )
    async def segment(request: Request) -> Response:
        """Take a GeoTIFF, PNG or JPEG as the body; answer with a mask or polygons, by the Accept header.

        The mask has the size of the image, its values are class ids. Images without a CRS give pixel coordinates.
        """
        kind = chosen_kind(request.headers.get("accept"))
        request_id: str = request.scope["state"]["request_id"]
        with intake.place(), intake.body_room(request):
            body = await intake.read(request)
            work = partial(service.segment, body, kind, request_id)
            answer = await asyncio.get_running_loop().run_in_executor(pool, work)
        return Response(answer.body, media_type=answer.kind, headers=_headers(answer))


def _headers(answer: Answer) -> dict[str, str]:
    headers = {"X-Model-Version": answer.version, "X-Engine": answer.engine}
    if answer.confidence is not None:
        headers["X-Mean-Confidence"] = f"{answer.confidence:.4f}"
    if answer.notes:
        text = " ".join(answer.notes)
        headers["X-Note"] = text.encode("ascii", "replace").decode().replace("\n", " ")[:500]
    return headers


def _add_model(app: FastAPI, service: Service, tile_px: int) -> None:
    @app.get(MODEL, summary="The model that answers", operation_id="model", responses=examples.MODEL_RESPONSES)
    async def model() -> ModelInfo:
        """Say which version answers, and what images it takes."""
        with service.champion.using() as served:
            chosen, description = served.model, served.model.description
            return ModelInfo(
                project=service.project.name,
                version=chosen.label,
                run_id=chosen.run_id,
                engine=served.engine,
                architecture=description.architecture,
                backbone=description.backbone,
                bands=list(description.bands),
                dtype=description.dtype,
                classes=list(description.classes),
                gsd_m=description.gsd_m,
                threshold=service.project.inference.threshold,
                tile_px=tile_px,
            )


def _add_operation(app: FastAPI, service: Service) -> None:
    @app.get(HEALTH, summary="Does the process live?", operation_id="health")
    async def health() -> State:
        """Answer 200 as long as the process can."""
        return State(status="ok")

    @app.get(READY, summary="Can it answer?", operation_id="ready", responses=examples.NOT_READY)
    async def ready() -> State:
        """Answer 200 once a model is loaded; the detail says why a newer champion is not yet there."""
        if service.champion.model is None:
            raise NotReadyError(f"There is no model to answer with: {service.champion.problem}.", {"Retry-After": "5"})
        return State(status="ready", detail=service.champion.problem)

    @app.get(
        METRICS,
        summary="Figures for Prometheus",
        operation_id="metrics",
        response_class=Response,
        responses=examples.METRICS_RESPONSES,
    )
    async def metrics() -> Response:
        """Return counters and histograms in Prometheus' text format."""
        served = service.champion.model
        if served is not None:
            service.metrics.show_model(served.model.label, served.engine)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


class _Problem(Response):
    """An error as application/problem+json."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_problem(send, self._error, scope["state"]["request_id"])


def _add_errors(app: FastAPI) -> None:
    async def told(request: Request, error: Exception) -> Response:
        return _Problem(error)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        body = problem_json(error.status_code, error.detail, error.detail, request.scope["state"]["request_id"])
        return Response(body, error.status_code, headers=error.headers, media_type="application/problem+json")

    app.add_exception_handler(RequestRefused, told)
    app.add_exception_handler(SatsegError, told)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, told)


def _describe_keys(app: FastAPI) -> None:
    plain = app.openapi

    def described() -> dict[str, Any]:
        schema = plain()
        schema.setdefault("components", {})["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                if path not in OPEN_PATHS:
                    operation["security"] = [{"key": []}, {"bearer": []}]
        return schema

    app.openapi = described  # type: ignore[method-assign]
