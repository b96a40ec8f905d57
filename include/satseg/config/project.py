"""What a map product is: one YAML file per project, every key with a default and a description."""

import difflib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from satseg.config.data import AnnotationConfig, RadiometryConfig, ResamplingName, ValidationConfig
from satseg.config.evaluation import EvaluationConfig
from satseg.config.operation import DriftConfig, InferenceConfig, PromotionConfig, ScheduleConfig
from satseg.config.patches import PatchConfig
from satseg.config.search import SearchConfig, check_space
from satseg.config.section import NAME_PATTERN, Name, Section
from satseg.config.selection import SelectionConfig
from satseg.config.training import RetrainingConfig, TrainingConfig
from satseg.errors import ConfigurationError, NotFoundError


class ProjectConfig(Section):
    """One map product."""

    name: Name = Field(description="Name of the project, its DAGs and its registered model.")
    description: str = Field("", description="One sentence for people.")
    classes: tuple[Name, ...] = Field(min_length=1, description="Classes; ids count from 1, 0 is background.")
    bands: tuple[str, ...] = Field(("red", "green", "blue"), min_length=1, description="Bands in the scenes' order.")
    crs: str | None = Field(None, description="CRS all scenes are brought to; null keeps each scene's own.")
    gsd_m: float | None = Field(None, gt=0, description="Ground sample distance all scenes are resampled to.")
    band_names: dict[str, str] = Field(
        {}, description="What a band is called in the scenes' files, where that is another name: {red: B04}."
    )
    resampling: ResamplingName = Field(
        "auto", description="How; auto: average where pixels grow by half or more, else bilinear."
    )
    radiometry: RadiometryConfig = RadiometryConfig()
    annotations: AnnotationConfig = AnnotationConfig()
    validation: ValidationConfig = ValidationConfig()
    patches: PatchConfig = PatchConfig()
    training: TrainingConfig = TrainingConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    search: SearchConfig = SearchConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    promotion: PromotionConfig = PromotionConfig()
    inference: InferenceConfig = InferenceConfig()
    drift: DriftConfig = DriftConfig()
    selection: SelectionConfig = SelectionConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "ProjectConfig":
        if len(set(self.classes)) != len(self.classes) or "background" in self.classes:
            raise ValueError("classes must be distinct and not contain 'background' (it is class 0 by itself)")
        if len(self.classes) > 254:
            raise ValueError("at most 254 classes fit into uint8 masks")
        for name, meant in self.annotations.class_names.items():
            if meant not in self.classes:
                raise ValueError(
                    f"annotations.class_names: '{name}' means '{meant}', which is not one of classes "
                    f"({', '.join(self.classes)})"
                )
        check_space(self.search.space, {"training": self.training, "retraining": self.retraining})
        if len(set(self.bands)) != len(self.bands) or len(self.bands) > 16:
            raise ValueError("bands must be distinct, and at most 16")
        if unknown := sorted(set(self.band_names) - set(self.bands)):
            raise ValueError(f"band_names names {', '.join(unknown)}, which is not one of bands")
        for key in ("scale", "offset"):
            given = len(getattr(self.radiometry, key))
            if given not in {0, 1, len(self.bands)}:
                raise ValueError(f"radiometry.{key} holds {given} numbers for {len(self.bands)} bands")
        return self

    def class_id(self, name: str) -> int | None:
        """Return the id (1..N) of a class name, None for an unknown one."""
        return self.classes.index(name) + 1 if name in self.classes else None


def content_id(*parts: Any) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of the parts' canonical JSON."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _valid_keys(location: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = ProjectConfig
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return list(model.model_fields)


def _shown(value: Any) -> str:
    return "" if isinstance(value, dict) else f" (value {value!r})"


def _name_rule(wrong: str, of_class: bool) -> str:
    near = re.sub(r"[^a-z0-9]+", "_", wrong.lower()).strip("_")
    example = f", like {near}" if wrong.isascii() and re.fullmatch(NAME_PATTERN, near) else ""
    labels = "; annotations.class_names says which names in label files mean it" if of_class else ""
    return f"a letter a-z, then at most 62 of a-z, 0-9, - and _{example}{labels}"


def _explain(error: ValidationError) -> str:
    lines = []
    for entry in error.errors():
        where = ".".join(str(part) for part in entry["loc"])
        if entry["type"] == "extra_forbidden":
            valid = _valid_keys(entry["loc"][:-1])
            near = difflib.get_close_matches(str(entry["loc"][-1]), valid, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"valid keys: {', '.join(valid)}."
            lines.append(f"{where}: unknown key; {hint}")
        elif entry["type"] == "missing":
            lines.append(f"{where}: this key is required.")
        elif entry.get("ctx", {}).get("pattern") == NAME_PATTERN:
            lines.append(
                f"{where}: {_name_rule(entry['input'], entry['loc'][0] == 'classes')}{_shown(entry['input'])}."
            )
        elif entry["type"] == "tuple_type":
            lines.append(f"{where}: write a list, like [{entry['input']}]{_shown(entry['input'])}.")
        elif entry["type"] == "too_short" and entry["input"] and not entry["ctx"]["actual_length"]:
            continue  # what is wrong with each of its items has been said
        elif not entry["loc"]:  # a rule over several keys names them itself
            lines.append(f"{entry['msg'].removeprefix('Value error, ')}.")
        else:
            lines.append(f"{where}: {entry['msg'].removeprefix('Value error, ')}{_shown(entry['input'])}.")
    return " ".join(lines)


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice; YAML's own rule, which PyYAML does not keep: the last would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping.

        Raises:
            yaml.constructor.ConstructorError: a key stands twice.
        """
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if not isinstance(key, str | int):
                continue
            if key in lines:
                raise yaml.constructor.ConstructorError(
                    problem=f"key '{key}' stands twice (line {lines[key]} and line {line})"
                )
            lines[key] = line
        return super().construct_mapping(node, deep)


def _set_path(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    for parent in parents:
        nested = tree.setdefault(parent, {})
        if not isinstance(nested, dict):
            raise ConfigurationError(f"--set {dotted}: '{parent}' is a value, not a section of the project file.")
        tree = nested
    tree[leaf] = value


def parse_project(text: str, origin: str, overrides: tuple[str, ...] = ()) -> ProjectConfig:
    """Read a project from YAML text and apply `key.subkey=value` overrides.

    Raises:
        ConfigurationError: not YAML, an unknown key (the nearest valid one is named) or a wrong value.
    """
    try:
        tree = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{origin} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f"{origin} must be a mapping with at least 'name' and 'classes'; see include/projects/."
        )
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise ConfigurationError(f"--set {override!r}: write it as key=value, for example training.epochs=3.")
        try:
            _set_path(tree, key.strip(), yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise ConfigurationError(f"--set {override!r}: the value is not valid YAML ({error}).") from error
    try:
        return ProjectConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(f"{origin}: {_explain(error)}") from error


def project_files(projects_dir: Path) -> dict[str, Path]:
    """Return the project files of a folder by their stem, sorted."""
    return {path.stem: path for path in sorted(projects_dir.glob("*")) if path.suffix in {".yaml", ".yml"}}


def load_project(reference: str | None, projects_dir: Path, overrides: tuple[str, ...] = ()) -> ProjectConfig:
    """Load a project by name or file; None means the only one there is.

    Raises:
        NotFoundError: no such project; the message lists those there are.
        ConfigurationError: the file is wrong.
    """
    known = project_files(projects_dir)
    names = ", ".join(known) or "none"
    if reference is None:
        if len(known) != 1:
            raise NotFoundError(
                f"Which project? Give --project or set SATSEG_PROJECT. "
                f"In {projects_dir.resolve()} (SATSEG_PROJECTS_DIR): {names}."
            )
        path = next(iter(known.values()))
    elif reference in known:
        path = known[reference]
    elif Path(reference).is_file():
        path = Path(reference)
    else:
        raise NotFoundError(f"No project '{reference}' (neither a file nor one of {projects_dir}: {names}).")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Project file {path} cannot be read: {error}") from error
    project = parse_project(text, str(path), overrides)
    if path == known.get(path.stem) and project.name != path.stem:
        raise ConfigurationError(
            f"{path}: name is '{project.name}'; rename the file to {project.name}.yaml or the name."
        )
    return project
