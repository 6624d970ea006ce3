"""Label Studio, JSON and JSON-MIN: polygons, rectangles and ellipses in per cent, brushes as run lengths.

A brush has the pixels that Label Studio's converter decodes. Of several annotations of a task the last counts, or the
one marked as ground truth.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from data_generators.files.found_files import IMAGE_SUFFIXES
from data_preparation.annotation_forms.records import AnnotatedImage, Found, Shape
from data_preparation.annotation_forms.shapes import Part, Polygon, ellipse, rectangle, scaled, turned
from data_preparation.annotation_forms.source import Source, any_json, json_of_form, not_of_form
from data_preparation.annotation_forms.values import NO_AREA, TOO_FEW, groups_of, number_of, points_of, short, size_of
from data_preparation.common.coco_segmentations import Region
from data_preparation.common.image_files import Skipped
from data_preparation.common.made_images import DATA_URL
from utils.base.errors import UserError

TITLE = "Label Studio JSON"
RESULTS = ("annotations", "completions")  # the second: before version 1
UPLOAD_PREFIX = 9  # 1a2b3c4d- before the name of an uploaded file


class BrushRuns(NamedTuple):
    """A brush: the bytes of a run-length encoding of `(height, width, 4)`, whose last channel is the object.

    32 bits: number of values; 5 and four times 4 bits: bits of a value and of run lengths, less one. Then runs: a bit
    (1: the value comes once for all, 0: each for itself), two bits (which of the four), the length less one, values.
    Source: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack.
    """

    codes: Sequence[int]

    def draw(self, height: int, width: int, where: str) -> Region:
        try:
            data = bytes(self.codes)
        except (ValueError, TypeError):
            raise UserError(f"{where}: its runs must be numbers from 0 to 255.") from None
        values = unpack_runs(data, 4 * height * width, where)
        return Region(0, 0, (values.reshape(height, width, 4)[:, :, 3] > 0).astype(np.uint8))


def unpack_runs(data: bytes, size: int, where: str) -> np.ndarray:
    """The values that runs stand for, see `BrushRuns`: uint8 `(size,)`.

    Raises:
        UserError: they are truncated, or stand for another number of values.
    """
    position, end = 0, 8 * len(data)

    def read(count: int) -> int:
        nonlocal position
        if position + count > end:
            raise UserError(f"{where}: its runs are truncated. Export it again.")
        last = position + count + 7 >> 3
        word = int.from_bytes(data[position >> 3 : last], "big")
        position += count
        return word >> (8 * last - position) & (1 << count) - 1

    number, bits = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    if number != size or bits > 8:
        raise UserError(f"{where}: its runs stand for {number} values of {bits} bits; the image needs {size} of 8.")
    values, index = np.zeros(size, np.uint8), 0
    while index < size:
        is_run = read(1)
        stop = index + 1 + read(lengths[read(2)])
        if stop > size:
            raise UserError(f"{where}: its runs reach beyond the image. Export it again.")
        if is_run:
            values[index:stop] = read(bits)
        else:
            values[index:stop] = [read(bits) for _ in range(index, stop)]
        index = stop
    return values


def is_form(content: Any) -> bool:
    """Whether the content of a JSON file is a list of tasks, or the short form of one."""
    tasks = content if isinstance(content, list) else [content]
    return bool(tasks) and all(isinstance(task, dict) and (is_task(task) or is_short(task)) for task in tasks[:5])


def is_task(task: dict) -> bool:
    """Whether it is a task of JSON."""
    return isinstance(task.get("data"), dict) and any(isinstance(task.get(key), list) for key in RESULTS)


def is_short(task: dict) -> bool:
    """Whether it is a task of JSON-MIN."""
    return "annotator" in task or "annotation_id" in task or "lead_time" in task


def recognise(source: Source) -> bool:
    """See `forms`."""
    return any_json(source, is_form)


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    images, skipped = [], []
    for path, content in json_of_form(source, is_form):
        if content is None:
            skipped.append(not_of_form(path, TITLE))
            continue
        for number, task in enumerate(content if isinstance(content, list) else [content]):
            keys: tuple[str | int, ...] = (number,) if isinstance(content, list) else ()
            where = f"{path}: task {task.get('id', number) if isinstance(task, dict) else number}"
            if not isinstance(task, dict):
                raise UserError(f"{where}: is {short(task)}, not a group of keys.")
            images.append(read_task(path, keys, task, where, skipped))
    return Found(images, skipped=skipped)


def read_task(
    path: Path, keys: tuple[str | int, ...], task: dict, where: str, skipped: list[Skipped]
) -> AnnotatedImage:
    """The image of a task; what encloses nothing is added to `skipped`."""
    data, inner = (task["data"], (*keys, "data")) if is_task(task) else (task, keys)
    shapes: list[Shape] = []
    size = None
    for number, result in enumerate(results_of(task, where, skipped)):
        here = f"{where}, result {number}"
        value = result.get("value", result)
        if not isinstance(value, dict):
            raise UserError(f"{here}: its value is {short(value)}, not a group of keys.")
        if number_of(result.get("image_rotation") or 0, here):
            raise UserError(f"{here}: the image was turned in Label Studio. Turn the file itself and annotate it so.")
        size = size_of(result, "original_height", "original_width", here) or size
        labels = [label for key, found in value.items() if key.endswith("labels") for label in listed(found)]
        parts, reason = parts_of(value, size, here)
        if reason or not labels:
            skipped.append((here, reason or "has no label"))
        shapes += [Shape(here, str(label), parts, number) for label in labels if not reason]
    key, name = image_of(data, where)
    embedded = (*inner, key) if name.startswith(DATA_URL) else None
    names = [f"task_{task.get('id', '')}"] if embedded else names_of(name)
    return AnnotatedImage(where, names, path.parent, shapes, (path,), size, embedded)


def listed(value: object) -> list:
    """A list as it is, anything else as nothing."""
    return value if isinstance(value, list) else []


def results_of(task: dict, where: str, skipped: list[Skipped]) -> list[dict]:
    """The results of the annotation that counts."""
    if not is_task(task):
        return [entry for found in task.values() for entry in listed(found) if isinstance(entry, dict)]
    key = next(key for key in RESULTS if isinstance(task.get(key), list))
    found = [entry for entry in groups_of(task, key, where) if not entry.get("was_cancelled")]
    if not found:
        return []
    truths = [entry for entry in found if entry.get("ground_truth")]
    if len(found) > 1:
        skipped.append((where, f"has {len(found)} annotations, of which one counts"))
    return groups_of((truths or found)[-1], "result", where)


def image_of(data: dict, where: str) -> tuple[str, str]:
    """The key and the text that name the image of a task.

    Raises:
        UserError: there is none.
    """
    texts = [(key, value) for key, value in data.items() if isinstance(value, str)]
    for key, value in texts:
        if value.startswith(f"{DATA_URL}image/") or names_of(value)[0].lower().endswith(IMAGE_SUFFIXES):
            return key, value
    raise UserError(f"{where}: names no image ({', '.join(IMAGE_SUFFIXES)}).")


def names_of(address: str) -> list[str]:
    """What a file may be called that a task names by its address, the likeliest first.

    >>> names_of("/data/upload/3/1a2b3c4d-cat%201.png")[:2]
    ['data/upload/3/1a2b3c4d-cat 1.png', 'cat 1.png']
    >>> names_of("/data/local-files/?d=pets/cat.png")
    ['pets/cat.png']
    """
    parts = urlsplit(address) if "://" in address or address.startswith("/data/") else None
    path = address if parts is None else parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    path = path.lstrip("/")
    name = path.rpartition("/")[2]
    is_upload = len(name) > UPLOAD_PREFIX and name[UPLOAD_PREFIX - 1] == "-"
    return [path, name[UPLOAD_PREFIX:]] if is_upload else [path]


def parts_of(value: dict, size: tuple[int, int] | None, where: str) -> tuple[list[Part], str]:
    """Return `(parts, why there are none or "")` of a result; `size` is that of its image."""
    if "rle" in value:
        return [BrushRuns(listed(value["rle"]))], ""
    if not ({"points", "width", "radiusX"} & set(value)):
        return [], NO_AREA.format("label without a shape")
    if size is None:
        raise UserError(f"{where}: has no original_width and original_height, without which per cent mean nothing.")
    height, width = size

    def across(key: str) -> float:
        return number_of(value.get(key), f"{where}: {key}") * width / 100

    def down(key: str) -> float:
        return number_of(value.get(key), f"{where}: {key}") * height / 100

    if "points" in value:
        points = scaled(points_of(value["points"], where), width / 100, height / 100)
        return ([Polygon(points)], "") if len(points) >= 6 else ([], TOO_FEW)
    degrees = number_of(value.get("rotation") or 0, f"{where}: rotation")
    x, y = across("x"), down("y")
    if "radiusX" in value:
        return [ellipse(x, y, across("radiusX"), down("radiusY"), degrees)], ""
    if "height" not in value:
        return [], NO_AREA.format("point")  # a keypoint has a width
    box = rectangle(x, y, x + across("width"), y + down("height"))
    return [turned(box, degrees, (x, y)) if degrees else box], ""
