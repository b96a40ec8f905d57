"""Shards: written record by record, arranged and put together without loss."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satseg.patches.patchset import header_bytes
from satseg.patches.shards import Record, ShardWriter, Sources, arrange, write_shard

RECORD = Record(size=8, channels=2, dtype="uint16")


def patches(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60_000, (count, 8, 8, 2)).astype(np.uint16)
    return images, rng.integers(0, 3, (count, 8, 8)).astype(np.uint8)


def write_part(folder: Path, count: int, seed: int, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir()
    images, masks = patches(count, seed)
    with ShardWriter(folder, "train", RECORD, count, capacity) as writer:
        for image, mask in zip(images, masks, strict=True):
            writer.write(image, mask)
    return images, masks


def test_shards_hold_every_patch_where_the_arrangement_says(tmp_path: Path) -> None:
    counts, capacity = {"a": 11, "b": 3, "c": 4, "d": 0, "e": 2}, 4
    written = {s: write_part(tmp_path / s, n, i, capacity) for i, (s, n) in enumerate(counts.items())}
    folders = {scene: tmp_path / scene for scene in counts}
    seen: dict[str, set[int]] = {scene: set() for scene in counts}
    for number, shard in enumerate(arrange(counts, capacity)):
        write_shard(tmp_path, number, Sources(shard, folders, "train", RECORD))
        images, masks = (np.load(tmp_path / f"{kind}-{number:05d}.npy") for kind in ("images", "masks"))
        index = 0
        for part in shard:
            for position in range(part.position, part.position + part.count):
                assert (images[index] == written[part.scene][0][position]).all()
                assert (masks[index] == written[part.scene][1][position]).all()
                seen[part.scene].add(position)
                index += 1
        assert index == len(images) == len(masks)
    assert {scene: len(positions) for scene, positions in seen.items()} == counts


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 9))
def test_only_the_last_shard_is_not_full(counts: list[int], capacity: int) -> None:
    by_scene = {f"s{i}": count for i, count in enumerate(counts)}
    sizes = [sum(segment.count for segment in shard) for shard in arrange(by_scene, capacity)]
    assert sum(sizes) == sum(counts)
    assert all(size == capacity for size in sizes[:-1])
    assert all(0 < size <= capacity for size in sizes)


def test_full_part_files_are_linked_not_copied(tmp_path: Path) -> None:
    write_part(tmp_path / "a", 4, 0, capacity=4)
    (shard,) = arrange({"a": 4}, 4)
    write_shard(tmp_path, 0, Sources(shard, {"a": tmp_path / "a"}, "train", RECORD))
    assert (tmp_path / "images-00000.npy").samefile(tmp_path / "a" / "train-images-00000.npy")


def test_records_follow_the_header_directly(tmp_path: Path) -> None:
    images, _ = write_part(tmp_path / "a", 3, 0, capacity=10)
    path = tmp_path / "a" / "train-images-00000.npy"
    raw = np.fromfile(path, dtype=np.uint16, offset=header_bytes(path)).reshape(3, 8, 8, 2)
    assert (raw == images).all()
    assert np.load(path, mmap_mode="r").offset == header_bytes(path)


def test_a_patch_of_another_type_is_refused(tmp_path: Path) -> None:
    image, mask = (array[0] for array in patches(1, 0))
    writer = ShardWriter(tmp_path, "train", RECORD, 1, 1)
    with pytest.raises(ValueError, match="uint8"), writer:
        writer.write(image.astype(np.uint8), mask)


def test_a_shard_holds_about_the_wanted_bytes() -> None:
    assert Record(256, 3, "uint8").capacity(128) == 682
    assert Record(1024, 16, "float32").capacity(1) == 1
