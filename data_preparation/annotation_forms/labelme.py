"""labelme: a JSON file per image, with its shapes and, where it was not switched off, the image in base64.

labelme draws in the order of the file, with Pillow, border included: up to a pixel more on every side than here.
"""

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

from data_preparation.annotation_forms.records import AnnotatedImage, Found, Shape
from data_preparation.annotation_forms.shapes import Part, Picture, Polygon, ellipse, rectangle
from data_preparation.annotation_forms.source import Source, any_json, json_of_form, not_of_form
from data_preparation.annotation_forms.values import (
    NO_AREA,
    TOO_FEW,
    entry_of,
    groups_of,
    points_of,
    short,
    size_of,
)
from data_preparation.common.image_files import Skipped
from utils.base.errors import UserError

TITLE = "labelme JSON"
KINDS = ("polygon", "oriented_rectangle", "rectangle", "circle", "mask", "line", "linestrip", "point", "points")
POINTS = {"rectangle": 2, "circle": 2, "mask": 2}


def is_form(content: Any) -> bool:
    """Whether the content of a JSON file is labelme's."""
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def recognise(source: Source) -> bool:
    """See `forms`."""
    return any_json(source, is_form)


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    images, skipped = [], []
    for path, content in json_of_form(source, is_form):
        if content is None:
            skipped.append(not_of_form(path, TITLE))
        else:
            images.append(read_image(path, content, skipped))
    return Found(images, skipped=skipped)


def read_image(path: Path, content: dict, skipped: list[Skipped]) -> AnnotatedImage:
    """The image of a file; what encloses nothing is added to `skipped`."""
    shapes = []
    for number, entry in enumerate(groups_of(content, "shapes", str(path))):
        where = f"{path}: shape {number}"
        label = entry_of(entry, "label", str, where).strip()
        parts, reason = parts_of(entry, where)
        if not label:
            skipped.append((where, "has no label"))
        elif reason:
            skipped.append((f"{where} ({label})", reason))
        else:
            group = entry.get("group_id")
            shapes.append(Shape(where, label, parts, number, None if group is None else f"{label} {group}"))
    size = size_of(content, "imageHeight", "imageWidth", str(path))
    name = entry_of(content, "imagePath", str, str(path))
    keys = ("imageData",) if content.get("imageData") else None
    return AnnotatedImage(str(path), [name], path.parent, shapes, (path,), size, keys)


def parts_of(entry: dict, where: str) -> tuple[list[Part], str]:
    """Return `(parts, why there are none or "")` of a shape."""
    kind = entry.get("shape_type") or "polygon"  # early versions had nothing else
    if kind not in KINDS:
        raise UserError(f"{where}: shape_type {short(kind)} is none that labelme writes.")
    points = points_of(entry.get("points"), where)
    if kind in POINTS and len(points) != 2 * POINTS[kind]:
        return [], f"a {kind} has {POINTS[kind]} points, not {len(points) // 2}"
    if kind == "rectangle":
        return [rectangle(*ordered(points))], ""
    if kind == "circle":
        radius = math.hypot(points[2] - points[0], points[3] - points[1])
        return ([ellipse(points[0], points[1], radius, radius)], "") if radius else ([], "a circle without a radius")
    if kind == "mask":
        left, top, _, _ = ordered(points)
        return [Picture(entry_of(entry, "mask", str, where), round(left), round(top))], ""
    if kind in ("polygon", "oriented_rectangle"):
        return ([Polygon(points)], "") if len(points) >= 6 else ([], TOO_FEW)
    return [], NO_AREA.format(kind)


def ordered(points: list[float]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of two opposite corners."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
