"""A map product so small that its whole loop takes minutes, for the end-to-end tests."""

from pathlib import Path

from satseg.storage.layout import Workspace
from satseg_airflow.demo.plan import DemoPlan, synthetic_plan
from satseg_airflow.embedded.environment import Home

# the model learns next to nothing here and may pass all the same: the loop is under test, not the map
PROJECT = """
name: tiny
classes: [building]
gsd_m: 0.15
patches: {size_px: 64, stride_px: 64, block_px: 128, buffer_m: 1.0}
training: {backbone: resnet18, epochs: 3, steps_per_epoch: 4, batch_size: 4}
retraining: {epochs: 1}
promotion: {min_iou: 0.0, max_iou_loss: 1.0, margin_over_all_positive: -1.0}
inference: {window_px: 128}
drift: {patch_px: 64, permutations: 299, confirm: {nights: 1, of: 1}, quiet_nights: 1}
"""


def tiny_home(folder: Path) -> Home:
    """Return the Airflow home of a new workspace whose only project is `tiny`."""
    projects = folder / "projects"
    projects.mkdir()
    (projects / "tiny.yaml").write_text(PROJECT)
    return Home(Workspace(folder / "workspace"), projects)


def tiny_plan(home: Home, run_timeout_s: float = 600) -> DemoPlan:
    """Return the demo's plan for it; the training is as the project file says."""
    return synthetic_plan(
        home.workspace,
        "tiny",
        count=4,
        size_px=384,
        projects_dir=home.projects_dir,
        training={},
        run_timeout_s=run_timeout_s,
    )
