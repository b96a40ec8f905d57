"""The trigger forms: typed parameters with a description, limits and the project's own values as defaults."""

from typing import Any, get_args

from airflow.sdk import Param

from satseg.config.project import ProjectConfig
from satseg.config.training import TrainingConfig

Form = dict[str, Param]
NEWEST = "Empty: the newest."
# JSON schema's date-time is not checked without a package that nothing else needs
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?$"
BACKBONES = (
    "efficientnetb0", "efficientnetb1", "efficientnetb2", "efficientnetb3", "efficientnetb4",
    "mobilenet", "mobilenetv2", "resnet18", "resnet34", "resnet50", "resnet101",
    "densenet121", "inceptionv3", "vgg16", "vgg19",
)  # fmt: skip


def _optional_text(title: str, description: str, **schema: Any) -> Param:
    return Param(None, type=["null", "string"], title=title, description=description, **schema)


def _version(title: str, description: str) -> Param:
    return _optional_text(title, f"{description} {NEWEST}", pattern="^v?[0-9]+$")


def _time(title: str, description: str) -> Param:
    return _optional_text(title, description, format="date-time", pattern=TIME_PATTERN)


def ingestion(project: ProjectConfig) -> Form:
    """Form of scene_ingestion."""
    return {
        "source": _source(project),
        "retry_quarantine": Param(
            False,
            type="boolean",
            title="Retry quarantine",
            description="Check the quarantined scenes again, after the project file or their files were mended. Leave "
            "the source folder empty.",
        ),
        "strict": Param(
            project.annotations.strict,
            type="boolean",
            title="Strict labels",
            description="Quarantine a scene with a polygon of an unknown class instead of dropping the polygon.",
        ),
        "force": Param(
            False, type="boolean", title="Force", description="Convert scenes again that the dataset already holds."
        ),
    }


def _source(project: ProjectConfig) -> Param:
    return _optional_text(
        "Source folder",
        f"Folder with scenes and labels, only read. Empty: the drop zone workspace/incoming/{project.name}/, "
        "which is emptied once the version is made.",
        minLength=1,
    )


def patches() -> Form:
    """Form of patch_generation."""
    return {"dataset_version": _version("Dataset version", "Version to cut into patches, such as v3.")}


def training(project: ProjectConfig) -> Form:
    """Form of model_training: the project's values, free to change for one run."""
    config = project.training
    architectures = list(get_args(TrainingConfig.model_fields["architecture"].annotation))
    backbones = list(dict.fromkeys((config.backbone, *BACKBONES)))
    searched = {"trials": _trials(project)} if project.search.space else {}
    return searched | {
        "patch_set": _optional_text(
            "Patch set", f"Id of the patch set to train on. {NEWEST}", pattern="^[0-9a-f]{12}$"
        ),
        "architecture": Param(
            config.architecture, type="string", enum=architectures, title="Architecture", description="The decoder."
        ),
        "backbone": Param(config.backbone, type="string", enum=backbones, title="Backbone", description="The encoder."),
        "epochs": Param(config.epochs, type="integer", minimum=1, maximum=2000, title="Epochs", description="Passes."),
        "steps_per_epoch": Param(
            config.steps_per_epoch,
            type=["null", "integer"],
            minimum=1,
            title="Steps per epoch",
            description="Empty: every draw once.",
        ),
        "batch_size": Param(
            config.batch_size,
            type="integer",
            minimum=1,
            maximum=512,
            title="Batch size",
            description="Patches per step.",
        ),
        "learning_rate": Param(
            config.learning_rate,
            type="number",
            exclusiveMinimum=0,
            maximum=1,
            title="Learning rate",
            description="Peak learning rate of Adam.",
        ),
        "init_from": _optional_text(
            "Start from", "champion, a version, a run id or a models:/ URI to start from. Empty: from scratch."
        ),
    }


def _trials(project: ProjectConfig) -> Param:
    return Param(
        project.search.trials,
        type="integer",
        minimum=1,
        maximum=1000,
        title="Trials",
        description=f"Trainings with other values of {', '.join(project.search.space)}; the best goes on. The first "
        "takes the values below, so 1 is a plain training.",
    )


def registration() -> Form:
    """Form of model_registration."""
    return {
        "run": Param(
            None,
            type="string",
            pattern="^[0-9a-f]{8,32}$",
            title="Run",
            description="MLflow run id, or its first eight digits and more, of a training that ended well.",
        )
    }


def promotion() -> Form:
    """Form of model_promotion."""
    return {
        "action": Param(
            "promote",
            type="string",
            enum=["promote", "rollback"],
            title="Action",
            description="promote: the version below, if it passes the gates. rollback: the champion before becomes "
            "champion again, in one step.",
        ),
        "version": Param(
            "challenger",
            type="string",
            minLength=1,
            title="Model version",
            description="Version number or alias that shall become champion, if it passes the gates.",
        ),
        "reason": Param("", type="string", title="Reason", description="Kept with the decision."),
    }


def inference() -> Form:
    """Form of scene_inference."""
    return {
        "scenes": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "minLength": 1},
            title="Scenes",
            description="Scene ids, one a line. Empty: every scene this model has not predicted yet.",
        ),
        "model": Param(
            "champion",
            type="string",
            minLength=1,
            title="Model",
            description="Version, alias or run. A run that a new champion started takes that version.",
        ),
        "scenes_per_task": Param(
            10,
            type="integer",
            minimum=1,
            maximum=1000,
            title="Scenes per task",
            description="A mapped task loads the model once and predicts so many scenes.",
        ),
    }


def drift() -> Form:
    """Form of drift_detection; the nightly schedule fills night and times by itself."""
    moment = "Scenes ingested from this time on, like 2026-03-31T02:00:00Z. Scheduled runs take the night's."
    return {
        "night": _optional_text("Night", "Date the report is kept under. Empty: today (UTC).", format="date"),
        "dataset_version": _optional_text(
            "Dataset version", "Test the scenes this version added or changed, instead of a time.", pattern="^v?[0-9]+$"
        ),
        "since": _time("Since", moment),
        "until": _time("Until", moment.replace("from this time on", "before this time")),
        "replace": Param(
            False,
            type="boolean",
            title="Replace",
            description="Replace the night's result when it was decided on other scenes; it is kept otherwise.",
        ),
    }


def retraining(project: ProjectConfig) -> Form:
    """Form of model_retraining; drift_detection fills night and evidence."""
    return {
        "source": _source(project),
        "night": _optional_text("Night", "The night whose drift is the reason.", format="date"),
        "min_new_scenes": Param(
            project.retraining.min_new_scenes,
            type="integer",
            minimum=0,
            title="Newly labelled scenes needed",
            description="With fewer, annotators are asked for windows and the run waits. 0: train with what there is.",
        ),
        "evidence": Param(
            {}, type=["null", "object"], title="Evidence", description="The drift test's result, kept with the run."
        ),
    }
