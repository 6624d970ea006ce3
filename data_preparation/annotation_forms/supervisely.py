"""Supervisely: meta.json with the classes, and per data set img/ and ann/ with a JSON file per image.

Its SDK writes whole numbers, the pixels themselves: half a pixel is added to polygons, a whole one to the far sides of
rectangles. Its labelling tool writes positions with fractions, which stay. Supervisely draws polygons with OpenCV,
border included: up to a pixel more on every side than here.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

from data_preparation.annotation_forms.records import AnnotatedImage, Found, Shape
from data_preparation.annotation_forms.shapes import Part, Picture, Polygon, rectangle
from data_preparation.annotation_forms.source import Source, any_json, content_of, json_of_form, not_of_form
from data_preparation.annotation_forms.values import (
    NO_AREA,
    TOO_FEW,
    colour_of,
    entry_of,
    groups_of,
    points_of,
    short,
    size_of,
    whole_of,
)
from data_preparation.common.image_files import Skipped
from utils.base.errors import UserError

TITLE = "Supervisely"
META = "meta.json"
NO_SHAPES = ("point", "line", "graph", "cuboid", "cuboid_2d", "polyline")


def is_form(content: Any) -> bool:
    """Whether the content of a JSON file is that of an image of Supervisely."""
    return isinstance(content, dict) and isinstance(content.get("objects"), list) and "size" in content


def recognise(source: Source) -> bool:
    """See `forms`."""
    return any_json(source, is_form)


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    images: list[AnnotatedImage] = []
    skipped: list[Skipped] = []
    names: dict[str, None] = {}
    colours = {}
    for path, content in json_of_form(source, is_form):
        if content is not None:
            images.append(read_image(path, content, skipped))
        elif path.name == META:
            for entry in groups_of(content_of(path), "classes", str(path)):
                title = entry_of(entry, "title", str, f"{path}: a class")
                names[title] = None
                colour = colour_of(entry.get("color"))
                if colour:
                    colours[title] = colour
        else:
            skipped.append(not_of_form(path, TITLE))
    return Found(images, list(names), colours, skipped)


def read_image(path: Path, content: dict, skipped: list[Skipped]) -> AnnotatedImage:
    """The image of a file; what encloses nothing is added to `skipped`."""
    shapes = []
    for number, entry in enumerate(groups_of(content, "objects", str(path))):
        where = f"{path}: object {number}"
        title = entry_of(entry, "classTitle", str, where)
        parts, reason = parts_of(entry, where)
        if reason:
            skipped.append((f"{where} ({title})", reason))
        else:
            shapes.append(Shape(where, title, parts, number))
    size = size_of(entry_of(content, "size", dict, str(path)), "height", "width", f"{path}: size")
    name = path.name.removesuffix(".json")
    return AnnotatedImage(str(path), [f"../img/{name}", name], path.parent, shapes, (path,), size)


def parts_of(entry: dict, where: str) -> tuple[list[Part], str]:
    """Return `(parts, why there are none or "")` of an object."""
    kind = entry.get("geometryType") or ("bitmap" if entry.get("bitmap") else "polygon")  # early projects have none
    if kind == "bitmap":
        bitmap = entry_of(entry, "bitmap", dict, where)
        origin = entry_of(bitmap, "origin", list, where)
        if len(origin) != 2:
            raise UserError(f"{where}: the origin is {short(origin)}, not [x, y].")
        corner = [whole_of(value, f"{where}: origin") for value in origin]
        return [Picture(entry_of(bitmap, "data", str, where), corner[0], corner[1], packed=True)], ""
    if kind in NO_SHAPES:
        return [], NO_AREA.format(kind)
    if kind == "multipolygon":
        polygons = [polygon_of(part, where) for part in groups_of(entry, "parts", where)]
        return [polygon for polygon in polygons if polygon], "" if any(polygons) else TOO_FEW
    if kind not in ("polygon", "rectangle"):
        raise UserError(f"{where}: geometryType {short(kind)} is not read. Convert it to polygons or bitmaps.")
    points = entry_of(entry, "points", dict, where)
    if kind == "polygon":
        polygon = polygon_of(points, where)
        return ([polygon], "") if polygon else ([], TOO_FEW)
    corners = points_of(points.get("exterior"), where)
    if len(corners) != 4:
        return [], f"a rectangle has 2 points, not {len(corners) // 2}"
    far = 1.0 if are_pixels(corners) else 0.0
    (left, right), (top, bottom) = sorted(corners[::2]), sorted(corners[1::2])
    return [rectangle(left, top, right + far, bottom + far)], ""


def polygon_of(points: dict, where: str) -> Polygon | None:
    """A polygon with its holes; None if it encloses nothing."""
    interior = entry_of(points, "interior", list, where) if points.get("interior") else []
    outer, *holes = (points_of(ring, where) for ring in (points.get("exterior"), *interior))
    shift = 0.5 if all(map(are_pixels, (outer, *holes))) else 0.0
    outer, *holes = ([value + shift for value in ring] for ring in (outer, *holes))
    return Polygon(outer, holes) if len(outer) >= 6 else None


def are_pixels(numbers: list[float]) -> bool:
    """Whether all are whole."""
    return all(number.is_integer() for number in numbers)
