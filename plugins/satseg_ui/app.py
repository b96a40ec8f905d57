"""The app: routes under /api/v1, the page, the problem documents, the description."""

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse

from satseg_ui import describing
from satseg_ui.airflow_calls import airflow_root
from satseg_ui.gate import Gate
from satseg_ui.mounted import PREFIX
from satseg_ui.problems import add_handlers
from satseg_ui.routes import (
    approvals,
    datasets,
    drift,
    health,
    incoming,
    lineage,
    models,
    page,
    patch_sets,
    predictions,
    projects,
    session,
    trainings,
)

API = "/api/v1"
ROUTERS = (
    session, health, projects, datasets, incoming, patch_sets, trainings, models, approvals, predictions, drift,
    lineage,
)  # fmt: skip


def create_rest() -> FastAPI:
    """Build the app without the gate before it."""
    app = FastAPI(
        title="satseg",
        version="1",
        description=describing.ABOUT,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # below, behind the gate like everything else
        redirect_slashes=False,
        responses=describing.PROBLEMS,
    )
    api = APIRouter(prefix=API)
    for module in ROUTERS:
        api.include_router(module.router)

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi() | {"servers": [{"url": airflow_root() + PREFIX}]})

    app.include_router(api)
    app.include_router(page.router)
    add_handlers(app)
    describing.describe_login(app)
    return app


def create_app() -> Gate:
    """Build what Airflow mounts."""
    return Gate(create_rest())
