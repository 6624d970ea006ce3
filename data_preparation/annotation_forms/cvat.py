"""CVAT for images 1.1: annotations.xml with polygons, boxes, ellipses and masks; its z_order is the order.

CVAT draws polygons with pycocotools, as this project does, when it exports COCO.
"""

from argparse import Namespace
from pathlib import Path
from xml.etree.ElementTree import Element

from data_preparation.annotation_forms.records import AnnotatedImage, Found, Shape
from data_preparation.annotation_forms.shapes import Part, Polygon, RowRuns, ellipse, rectangle, turned
from data_preparation.annotation_forms.source import Source, not_of_form, read_xml
from data_preparation.annotation_forms.values import NO_AREA, TOO_FEW, colour_of, number_of, short, whole_of
from data_preparation.common.image_files import Skipped
from utils.base.errors import UserError

TITLE = "CVAT for images 1.1"
NO_SHAPES = ("points", "polyline", "cuboid", "skeleton")
SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}  # what CVAT calls subsets


def recognise(source: Source) -> bool:
    """See `forms`."""
    return any(b"<annotations" in start_of(path) for path in source.ending(".xml"))


def start_of(path: Path) -> bytes:
    """The first bytes of a file."""
    with open(path, "rb") as file:
        return file.read(4096)


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    images: list[AnnotatedImage] = []
    skipped: list[Skipped] = []
    names: dict[str, None] = {}
    colours = {}
    for path in source.ending(".xml"):
        root = read_xml(path)
        if root.tag != "annotations":
            skipped.append(not_of_form(path, TITLE))
            continue
        if root.find("track") is not None:
            raise UserError(f"{path}: is CVAT for video. Export the task as CVAT for images 1.1.")
        for label in root.findall("meta//labels/label"):
            name = (label.findtext("name") or "").strip()
            colour = colour_of(label.findtext("color"))
            names[name] = None
            if colour:
                colours[name] = colour
        images += [read_image(path, image, skipped) for image in root.findall("image")]
    return Found(images, list(names), colours, skipped)


def read_image(path: Path, image: Element, skipped: list[Skipped]) -> AnnotatedImage:
    """The image of an element; what encloses nothing is added to `skipped`."""
    name = image.get("name") or ""
    where = f"{path}: image {short(name)}"
    if not name:
        raise UserError(f"{path}: an image has no name.")
    shapes = []
    for number, element in enumerate(image):
        if element.tag == "tag":
            continue
        label = (element.get("label") or "").strip()
        here = f"{where}, {element.tag} {number}"
        parts, reason = parts_of(element, here)
        if reason or not label:
            skipped.append((f"{here} ({label})", reason or "has no label"))
            continue
        layer = whole_of(element.get("z_order", 0), f"{here}: z_order")
        group = element.get("group_id")
        shapes.append(Shape(here, label, parts, layer, f"{label} {group}" if group not in (None, "0") else None))
    size = tuple(whole_of(image.get(key), f"{where}: {key}") for key in ("height", "width"))
    if min(size) < 1:
        raise UserError(f"{where}: is {size[0]}x{size[1]} pixels.")
    split = SPLITS.get((image.get("subset") or "").lower())
    names = [name, f"images/{name}"]
    return AnnotatedImage(where, names, path.parent, shapes, (path,), (size[0], size[1]), split=split)


def parts_of(element: Element, where: str) -> tuple[list[Part], str]:
    """Return `(parts, why there are none or "")` of an element."""

    def value(key: str, default: str | None = None) -> float:
        return number_of(element.get(key, default), f"{where}: {key}")

    degrees = value("rotation", "0")
    if element.tag == "polygon":
        pairs = [pair.split(",") for pair in (element.get("points") or "").split(";") if pair]
        if any(len(pair) != 2 for pair in pairs):
            raise UserError(f"{where}: the points are {short(element.get('points'))}, not x,y;x,y;...")
        points = [number_of(number, f"{where}: points") for pair in pairs for number in pair]
        return ([Polygon(points)], "") if len(points) >= 6 else ([], TOO_FEW)
    if element.tag == "box":
        box = value("xtl"), value("ytl"), value("xbr"), value("ybr")
        centre = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        return [turned(rectangle(*box), degrees, centre) if degrees else rectangle(*box)], ""
    if element.tag == "ellipse":
        return [ellipse(value("cx"), value("cy"), value("rx"), value("ry"), degrees)], ""
    if element.tag == "mask":
        corner = (whole_of(element.get(key), f"{where}: {key}") for key in ("left", "top", "width", "height"))
        left, top, width, height = corner
        counts = [whole_of(count, f"{where}: rle") for count in (element.get("rle") or "").split(",")]
        if min(counts) < 0 or min(width, height) < 1:
            raise UserError(f"{where}: has a negative run, or no pixels.")
        return [RowRuns(left, top, width, height, counts)], ""
    if element.tag in NO_SHAPES:
        return [], NO_AREA.format(element.tag)
    raise UserError(f"{where}: {short(element.tag)} is no shape that CVAT writes.")
