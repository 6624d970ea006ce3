"""COCO JSON, also as CVAT, Roboflow, Label Studio and labelme export it; the pixels are those of pycocotools.

A category called background is class 0 here; `data_preparation/coco.py` makes it a class of its own.
"""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_preparation.annotation_forms.records import AnnotatedImage, Colour, Found, Shape
from data_preparation.annotation_forms.shapes import CocoSegmentation
from data_preparation.annotation_forms.source import Source, any_json, json_of_form, not_of_form
from data_preparation.annotation_forms.values import colour_of
from data_preparation.common.coco_files import (
    Id,
    find_placeholder,
    image_size,
    number_by_id,
    read_annotations,
    read_crowd,
    read_id,
)
from data_preparation.common.coco_segmentations import enclosing_parts
from data_preparation.common.image_files import Skipped
from utils.base.errors import UserError

TITLE = "COCO JSON"


def is_form(content: Any) -> bool:
    """Whether the content of a JSON file is COCO's."""
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def recognise(source: Source) -> bool:
    """See `forms`."""
    return any_json(source, is_form)


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    images: list[AnnotatedImage] = []
    skipped: list[Skipped] = []
    names: dict[str, None] = {}
    colours: dict[str, Colour] = {}
    for path, content in json_of_form(source, is_form):
        if content is None:
            skipped.append(not_of_form(path, TITLE))
            continue
        data = read_annotations(path)
        categories = number_by_id(data["categories"], f"{path}: category")
        placeholder = find_placeholder(categories, data["annotations"])
        order = sorted(categories, key=lambda number: (isinstance(number, str), number))
        names |= dict.fromkeys(str(categories[number].get("name")) for number in order if number != placeholder)
        for category in categories.values():
            colour = colour_of(category.get("color"))
            if colour:
                colours[str(category.get("name"))] = colour
        images += read_file(path, data, categories, skipped)
    return Found(images, list(names), colours, skipped)


def read_file(
    path: Path, data: Mapping[str, list[dict]], categories: Mapping[Id, dict], skipped: list[Skipped]
) -> list[AnnotatedImage]:
    """The images of a file; annotations that enclose nothing are added to `skipped`."""
    entries = number_by_id(data["images"], f"{path}: image")
    shapes: dict[Id, list[Shape]] = {number: [] for number in entries}
    for order, (number, annotation) in enumerate(number_by_id(data["annotations"], f"{path}: annotation").items()):
        where = f"{path}: annotation {number}"
        image, category = read_id(annotation, "image_id", where), read_id(annotation, "category_id", where)
        if image not in entries or category not in categories:
            raise UserError(f"{where} belongs to image {image!r} and category {category!r}; one of them is not listed.")
        segmentation, reason = enclosing_parts(annotation.get("segmentation"))
        if reason:
            skipped.append((where, reason))
        if segmentation:
            name, is_crowd = str(categories[category].get("name")), read_crowd(annotation, where)
            shapes[image].append(Shape(where, name, [CocoSegmentation(segmentation)], order, None, is_crowd))
    images = []
    for number, entry in entries.items():
        where = f"{path}: image {number}"
        file_name = entry.get("file_name")
        if not isinstance(file_name, str) or not file_name:
            raise UserError(f"{where} has no file_name: {str(entry)[:80]}")
        size = image_size(entry, where)
        images.append(AnnotatedImage(where, [file_name], path.parent, shapes[number], (path,), size))
    return images
