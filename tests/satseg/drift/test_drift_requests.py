"""What the service logs of its requests can be tested like the scenes of a night."""

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pydantic import ValidationError

from satseg.config.project import ProjectConfig
from satseg.drift import compare, profile
from satseg.drift.profile import ProfileKind
from satseg.drift.request_profiles import request_profiles
from satseg.errors import NotFoundError
from satseg.scenes.grid import Grid
from satseg.serving.answers import Segmentation
from satseg.serving.images import RequestImage
from satseg.serving.request_log import RequestLog
from satseg.stages import DriftProfileSpec, DriftTestSpec

NIGHT = "2026-03-31"


def logged(folder: Path, project: ProjectConfig, images: list[np.ndarray]) -> str:
    """Log requests as the service does and return the day; one an hour, as the file's times are told afterwards."""
    log = RequestLog(folder, project, days=3, bytes_per_day=10**7)
    for number, image in enumerate(images):
        shape = image.shape[:2]
        grid = Grid(shape[1], shape[0], Affine.identity(), None)
        found = Segmentation(np.zeros(shape, np.uint8), np.zeros((*shape, 1), np.float32), grid, ("building",), "v1", 1)
        log.add(str(number), RequestImage(image, np.ones(shape, bool), grid, grid, ()), found, 0.9)
    log.close()
    (file,) = folder.glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for hour, line in enumerate(lines):
        line["time"] = f"{file.stem}T{hour:02d}:00:00+00:00"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file.stem


def night_of(world, day: str) -> compare.DriftResult:
    profile.run(DriftProfileSpec(project=world.project, night=NIGHT, requests=day), world.workspace)
    return compare.run(DriftTestSpec(project=world.project, night=NIGHT), world.workspace)


@pytest.mark.parametrize(("gain", "verdict"), [(1.0, "no drift"), (1.4, "drift")])
def test_requests_are_tested_against_the_champions_scenes(world, gain: float, verdict: str) -> None:
    world.add_towns(range(30), labelled=True)
    images = [np.clip(gain * world.town(50 + k), 0, 255).astype(np.uint8) for k in range(4)]
    day = logged(world.workspace.request_profiles("town"), world.project, images)
    result = night_of(world, day)
    assert result.verdict == verdict
    assert result.scenes == [f"requests-{day}T{hour:02d}" for hour in range(4)]
    assert result.patches["night"] == 8  # two of each request


def test_features_are_those_of_a_scene_and_what_does_not_fit_is_counted(world, tmp_path: Path) -> None:
    image = world.town(3)[:64, :64]
    kind = ProfileKind.of(world.project)
    day = logged(tmp_path, world.project, [image])
    with (tmp_path / f"{day}.jsonl").open("a") as file:
        file.write('{"time": "' + day + "T01:00")  # a line that is being written
    (hour,), left_out = request_profiles(tmp_path, day, kind.patch_px, kind.features)
    assert (hour, left_out) == (f"requests-{day}T00", 0)
    frames, _ = request_profiles(tmp_path, day, kind.patch_px, kind.features)
    world.add("north", image)
    expected = profile.profile_scene(world.versions["v2"][-1], kind, 0.5)
    corner = frames[hour].set_index(["row", "col"]).loc[(0, 0), list(kind.features)].astype(float)
    same = expected.set_index(["row", "col"]).loc[(0, 0), list(kind.features)].astype(float)
    np.testing.assert_allclose(corner, same, rtol=1e-4)
    assert set(expected.columns) == set(frames[hour].columns)
    assert request_profiles(tmp_path, day, 64, kind.features) == ({}, 2)


def test_a_day_without_requests_and_nothing_at_all_are_said(world) -> None:
    with pytest.raises(NotFoundError, match="no requests on 2026-03-30"):
        spec = DriftProfileSpec(project=world.project, night=NIGHT, requests="2026-03-30")
        profile.run(spec, world.workspace)
    with pytest.raises(ValidationError, match="neither scenes nor"):
        DriftProfileSpec(project=world.project, night=NIGHT)
