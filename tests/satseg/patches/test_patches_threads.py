"""Threads work ahead; what is written does not depend on their number."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patch_scenes import SceneSpec, Versions, bytes_of, opened, patch, scattered, small_project
from test_patches_stage import rows, whole_image, whole_mask

from satseg.patches.overlap import in_order
from satseg.storage.layout import Workspace


def test_results_come_in_the_order_of_the_jobs() -> None:
    def work(job: int) -> int:
        time.sleep(0.02 if job % 3 == 0 else 0)
        return job * job

    assert list(in_order(work, range(20), 4)) == [job * job for job in range(20)]


def test_at_most_threads_and_one_more_results_wait() -> None:
    started: list[int] = []

    def work(job: int) -> int:
        started.append(job)
        return job

    for number, _ in enumerate(in_order(work, range(50), 3)):
        assert len(started) <= number + 1 + 3 + 1


def test_an_error_reaches_the_caller_and_ends_the_threads() -> None:
    def work(job: int) -> int:
        if job == 5:
            raise ValueError("five")
        return job

    seen = []
    with pytest.raises(ValueError, match="five"):
        seen.extend(in_order(work, range(100), 2))
    assert seen == list(range(5))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("satseg-patches")]


def test_the_number_of_threads_changes_no_byte(
    town: str, tmp_path: Path, made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satseg.patches.cells.CELL_BYTES", 1)  # many cells
    sets = [opened(ws, patch(ws, threads=number)) for number in (1, 5) if (ws := Workspace(tmp_path / str(number)))]
    assert bytes_of(sets[0]) == bytes_of(sets[1])


@st.composite
def scenes(draw: st.DrawFn) -> SceneSpec:
    height, width = draw(st.integers(40, 260)), draw(st.integers(40, 260))
    seed, classes = draw(st.integers(0, 1000)), draw(st.integers(1, 3))
    dtype, bands = draw(st.sampled_from(["uint8", "uint16", "int16", "float32"])), draw(st.integers(1, 6))
    nodata = draw(st.sampled_from([None, 0]))
    pixels = np.random.default_rng(seed).integers(0, 250, (height, width, bands)).astype(dtype)
    if nodata is not None:
        pixels[: height // 3, : width // 4] = 0
    polygons = scattered(draw(st.integers(0, 60)), height, width, seed, classes)
    return SceneSpec("a", height, width, bands=bands, dtype=dtype, nodata=nodata, pixels=pixels, polygons=polygons)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scene=scenes(),
    stride=st.integers(16, 32),
    edge=st.sampled_from(["shift", "pad", "drop"]),
    threads=st.integers(2, 6),
)
def test_random_scenes_give_the_pixels_and_labels_of_the_whole_with_any_number_of_threads(
    tmp_path_factory: pytest.TempPathFactory, scene: SceneSpec, stride: int, edge: str, threads: int
) -> None:
    folder = tmp_path_factory.mktemp("random")
    versions = Versions(folder / "dataset")
    # a second scene, so that there is always ground for every split
    versions.add(
        scene,
        SceneSpec(
            "b", 160, 224, offset_px=(9000, 0), bands=scene.bands, dtype=scene.dtype, polygons=scattered(30, 160, 224)
        ),
    )
    project = small_project(
        f"patches.stride_px={stride}", f"patches.edge={edge}", "patches.negatives_per_positive=1000",
        classes="[roof, road, tree]",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr("satseg.patches.plan.open_version", versions.open)
        patching.setattr("satseg.patches.cells.CELL_BYTES", 1)
        one, many = (
            opened(ws, patch(ws, project, threads=number))
            for number in (1, threads)
            if (ws := Workspace(folder / str(number)))
        )
    assert bytes_of(one) == bytes_of(many)
    image, mask = whole_image(versions, "a"), whole_mask(versions, "a")
    if scene.nodata is not None:
        image = np.where((image == scene.nodata).all(axis=2, keepdims=True), 0, image)
    for row in (row for row in rows(many) if row["scene"] == "a"):
        window = np.s_[row["row"] : row["row"] + 32, row["col"] : row["col"] + 32]
        extent = mask[window].shape
        inside = np.s_[: extent[0], : extent[1]]
        assert (many.images(row["shard"])[row["index"]][inside] == image[window]).all()
        assert (many.masks(row["shard"])[row["index"]][inside] == mask[window]).all()
