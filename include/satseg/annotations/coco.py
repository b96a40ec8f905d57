"""COCO segmentation: one JSON file for many images, polygons and run-length encoded masks in pixels."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from satseg.annotations.labelme import image_size
from satseg.annotations.labels import Area, LabelFile, RawLabel, SceneFrame, areas_of, check_finite, class_text
from satseg.annotations.rle import columns, decode_runs
from satseg.annotations.vectorise import Strip, vectorise
from satseg.errors import BadDataError

_STRIP_PX = 2**24


@dataclass(frozen=True)
class CocoFile:
    """A COCO file: its images and, by image id, its annotations as they stand there (first number, tree)."""

    path: Path
    images: tuple[dict[str, Any], ...]
    categories: dict[Any, str | None]
    annotations: dict[Any, list[tuple[int, dict[str, Any]]]]
    total: int
    kind: str = "COCO"
    crs: None = None

    def for_scene(self, frame: SceneFrame) -> LabelFile | None:
        """Return the annotations of the image whose file name is the scene's, None when it is not in the file.

        Raises:
            BadDataError: several images fit, or an annotation cannot be read.
        """
        image = self._image(frame.file_names, frame.own_file)
        if image is None:
            return None
        entries = self.annotations.get(image["id"], [])
        size = image_size(image.get("width"), image.get("height"))
        sizes = [size] if size else [(grid.width, grid.height) for grid in frame.drawn_on]
        drawn = [(number, entry) for number, entry in entries if not _only_box(entry)]
        labels = [self._label(number, entry, sizes) for number, entry in drawn]
        found = tuple(label for label in labels if label is not None)
        return LabelFile(
            path=self.path,
            kind="COCO",
            crs=None,
            crs_stated=False,
            image_size=size,
            labels=found,
            not_areas=len(labels) - len(found),
            boxes=len(entries) - len(drawn),
            first=entries[0][0] if entries else 0,
            notes=self._notes(),
        )

    def _image(self, names: tuple[str, ...], own: bool) -> dict[str, Any] | None:
        """Return the image with one of the names; the whole file name counts before the name without suffix.

        A file of the scene's own may call its only image what it likes.
        """
        wanted = {name.casefold() for name in names}
        stems = {PurePosixPath(name).stem for name in wanted}
        by_name = [image for image in self.images if _file_name(image) in wanted]
        fitting = by_name or [image for image in self.images if PurePosixPath(_file_name(image)).stem in stems]
        if not fitting and own:
            fitting = list(self.images) if len(self.images) == 1 else []
        if len(fitting) > 1:
            all_of_them = ", ".join(str(image["file_name"]) for image in fitting[:5])
            raise BadDataError(
                f"{self.path.name}: {len(fitting)} of its images are named like the scene ({all_of_them}); give each "
                "image a file name of its own, or each folder its own COCO file"
            )
        return fitting[0] if fitting else None

    def _notes(self) -> tuple[str, ...]:
        lost = sum(len(entries) for image, entries in self.annotations.items() if image not in self._image_ids)
        return (f"{lost} annotations of {self.path.name} belong to no image of the file",) if lost else ()

    @cached_property
    def _image_ids(self) -> frozenset[Any]:
        return frozenset(image["id"] for image in self.images)

    def _label(self, number: int, entry: dict[str, Any], sizes: list[tuple[int, int]]) -> RawLabel | None:
        category = entry.get("category_id")
        if not isinstance(category, int | str) or category not in self.categories:
            known = ", ".join(f"{key} ({name})" for key, name in list(self.categories.items())[:10]) or "none"
            raise BadDataError(
                f"{self.path.name}: annotation {number} has the category_id {category!r}, which is not in its "
                f"categories: {known}; add the category or correct the id"
            )
        try:
            area = _area(entry.get("segmentation"), sizes)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise BadDataError(
                f"{self.path.name}: the segmentation of annotation {number} cannot be read ({error}); export it again"
            ) from error
        if area is None:
            return None
        check_finite(area, self.path, f"annotation {number}")
        return RawLabel(area, self.categories[category])


def parse_coco(tree: dict[str, Any], path: Path) -> CocoFile:
    """Read the frame of a COCO file; an annotation is read when its image is asked for.

    Raises:
        BadDataError: the file has not COCO's form.
    """
    try:
        images = tuple(tree["images"])
        for image in images:
            hash(image["id"])
            _file_name(image)
        categories = {entry["id"]: class_text(entry["name"]) for entry in tree.get("categories", [])}
        annotations: dict[Any, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for number, entry in enumerate(sorted(tree["annotations"], key=lambda entry: str(entry["image_id"]))):
            annotations[entry["image_id"]].append((number, entry))
    except (AttributeError, KeyError, TypeError) as error:
        raise BadDataError(
            f"{path.name} has 'images' and 'annotations' but not COCO's form ({type(error).__name__}: {error}); "
            "export it again"
        ) from error
    return CocoFile(path, images, categories, dict(annotations), len(tree["annotations"]))


def _only_box(entry: dict[str, Any]) -> bool:
    return not entry.get("segmentation") and bool(entry.get("bbox"))


def _file_name(image: dict[str, Any]) -> str:
    return PurePosixPath(str(image["file_name"]).replace("\\", "/")).name.casefold()


def _area(segmentation: Any, sizes: list[tuple[int, int]]) -> Area | None:
    if isinstance(segmentation, dict):
        return _decoded(segmentation, sizes)
    if not isinstance(segmentation, list):
        raise ValueError(f"a segmentation is a list of polygons or an RLE, not {type(segmentation).__name__}")
    parts = [Polygon(_points(part)) for part in segmentation if len(part) >= 6]
    if len(parts) <= 1:
        return parts[0] if parts else None
    whole = MultiPolygon(parts)
    # parts of one object may overlap: COCO means their union
    if whole.is_valid or not shapely.is_valid(parts).all():
        return whole
    return areas_of(shapely.union_all(parts))


def _points(flat: list[float]) -> NDArray[np.float64]:
    numbers = [float(value) for value in flat]
    if len(numbers) % 2:
        raise ValueError(f"a polygon has {len(numbers)} numbers, which are not pairs")
    return np.array(numbers).reshape(-1, 2)


def _decoded(encoded: dict[str, Any], sizes: list[tuple[int, int]]) -> Area | None:
    height, width = (int(side) for side in encoded["size"])
    if (width, height) not in sizes:
        raise ValueError(
            f"its RLE is {width} x {height} pixels, the image {' or '.join(f'{w} x {h}' for w, h in sizes)}"
        )
    runs = decode_runs(encoded["counts"], height * width)
    # the mask runs down the columns: it is read as rows of the transposed image, and x and y change places
    parts = shapely.transform([part for part, _ in vectorise(_strips(runs, height, width))], lambda xy: xy[:, ::-1])
    if len(parts) <= 1:
        return parts[0] if len(parts) else None
    whole = MultiPolygon(list(parts))
    return whole if whole.is_valid else areas_of(shapely.union_all(parts))


def _strips(runs: NDArray[np.int64], height: int, width: int) -> Iterator[Strip]:
    borders = np.cumsum(runs)
    if len(borders) < 2:
        return
    last_foreground = borders[-1] if len(borders) % 2 == 0 else borders[-2]
    first, last = int(borders[0]) // height, min(int(-(-last_foreground // height)), width)
    step = max(_STRIP_PX // height, 1)
    for column in range(first, last, step):
        yield column, 0, columns(runs, height, column, min(column + step, last))
