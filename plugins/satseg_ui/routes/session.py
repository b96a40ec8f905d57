"""Who is logged in, and what the page may offer."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from satseg_ui.project_files import all_projects
from satseg_ui.rights import Action, User, may, may_read
from satseg_ui.work import threaded

router = APIRouter(tags=["session"])


class Session(BaseModel):
    """A user and the rights."""

    user: str = Field(examples=["admin"])
    may: dict[str, list[Action]] = Field(
        description="By project that the user may see: what may be started there.",
        examples=[{"buildings": ["upload", "ingest", "patch", "train", "predict", "drift", "retrain"]}],
    )


@router.get("/session", summary="Who is logged in, and what may be started")
@threaded
def session(user: User) -> Session:
    """Answer with the user's name and rights, which are Airflow's."""
    visible = [name for name in all_projects() if may_read(user, name)]
    return Session(
        user=user.get_name(), may={name: [one for one in Action if may(user, name, one)] for name in visible}
    )
