"""VGG Image Annotator 1 and 2: a project or an export as JSON. VIA itself draws no masks."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_preparation.annotation_forms.attributes import choose_attribute, class_of
from data_preparation.annotation_forms.records import AnnotatedImage, Found, Shape
from data_preparation.annotation_forms.shapes import Part, Polygon, ellipse, rectangle
from data_preparation.annotation_forms.source import Source, any_json, json_of_form, not_of_form
from data_preparation.annotation_forms.values import NO_AREA, TOO_FEW, entry_of, number_of, short
from data_preparation.common.image_files import Skipped
from utils.base.errors import UserError

TITLE = "VGG VIA JSON"
PROJECT = "_via_img_metadata"


def images_in(content: Any) -> Any:
    """The images of a project, or of an export."""
    return content.get(PROJECT, content) if isinstance(content, dict) else None


def is_form(content: Any) -> bool:
    """Whether the content of a JSON file is VIA's."""
    images = images_in(content)
    if not isinstance(images, dict) or not images:
        return isinstance(images, dict) and PROJECT in content
    return all(isinstance(image, dict) and "filename" in image and "regions" in image for image in images.values())


def recognise(source: Source) -> bool:
    """See `forms`."""
    return any_json(source, is_form)


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    files: list[tuple[Path, dict]] = []
    skipped: list[Skipped] = []
    for path, content in json_of_form(source, is_form):
        if content is None:
            skipped.append(not_of_form(path, TITLE))
        else:
            files += [(path, image) for image in images_in(content).values()]
    regions = [region for path, image in files for _, region in regions_of(path, image)]
    attribute = choose_attribute(
        [entry for region in regions if isinstance(entry := region.get("region_attributes"), dict)],
        options.class_attribute,
        str(source.path),
        all_are_classes=True,
    )
    return Found([read_image(path, image, attribute, skipped) for path, image in files], skipped=skipped)


def regions_of(path: Path, image: dict) -> Iterator[tuple[str, dict]]:
    """Each region of an image with what messages call it; version 1 has a group of them, version 2 a list."""
    regions = image["regions"]
    listed = list(regions.values()) if isinstance(regions, dict) else regions
    for number, region in enumerate(listed if isinstance(listed, list) else []):
        where = f"{path}: image {short(image['filename'])}, region {number}"
        if not isinstance(region, dict):
            raise UserError(f"{where}: is {short(region)}, not a group of keys.")
        yield where, region


def read_image(path: Path, image: dict, attribute: str | None, skipped: list[Skipped]) -> AnnotatedImage:
    """One image; what encloses nothing is added to `skipped`."""
    shapes = []
    for number, (where, region) in enumerate(regions_of(path, image)):
        attributes = region.get("region_attributes")
        label = class_of(attributes if isinstance(attributes, dict) else {}, attribute)
        parts, reason = parts_of(entry_of(region, "shape_attributes", dict, where), where)
        if not label:
            reason = reason or f"has no {attribute}, or several"
        if reason:
            skipped.append((where, reason))
        else:
            shapes.append(Shape(where, label, parts, number))
    name = entry_of(image, "filename", str, str(path))
    return AnnotatedImage(f"{path}: image {short(name)}", [name], path.parent, shapes, (path,))


def parts_of(shape: dict, where: str) -> tuple[list[Part], str]:
    """Return `(parts, why there are none or "")` of a region."""

    def value(key: str, default: float | None = None) -> float:
        return number_of(shape.get(key, default), f"{where}: {key}")

    kind = shape.get("name")
    if kind == "polygon":
        across, down = (entry_of(shape, key, list, where) for key in ("all_points_x", "all_points_y"))
        if len(across) != len(down):
            raise UserError(f"{where}: has {len(across)} x and {len(down)} y.")
        points = [number_of(number, where) for pair in zip(across, down, strict=True) for number in pair]
        return ([Polygon(points)], "") if len(points) >= 6 else ([], TOO_FEW)
    if kind == "rect":
        left, top = value("x"), value("y")
        return [rectangle(left, top, left + value("width"), top + value("height"))], ""
    if kind == "circle":
        return [ellipse(value("cx"), value("cy"), value("r"), value("r"))], ""
    if kind == "ellipse":
        degrees = value("theta", 0) * 57.29577951308232  # radians, clockwise on the screen
        return [ellipse(value("cx"), value("cy"), value("rx"), value("ry"), degrees)], ""
    if kind in ("polyline", "point"):
        return [], NO_AREA.format(kind)
    raise UserError(f"{where}: {short(kind)} is no shape that VIA writes.")
