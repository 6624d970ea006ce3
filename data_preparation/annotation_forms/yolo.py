"""YOLO segmentation: labels/*.txt beside images/, a line per object: class, then x y x y ... in shares of the image.

Names of classes come from data.yaml, or classes.txt. Ultralytics draws with OpenCV, border included: up to a pixel more
on every side than here.
"""

import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_preparation.annotation_forms.records import AnnotatedImage, Found, Shape
from data_preparation.annotation_forms.shapes import Polygon
from data_preparation.annotation_forms.source import SAMPLE, Source, refuse_large
from data_preparation.annotation_forms.values import number_of, short
from data_preparation.common.image_files import Skipped
from utils.base.errors import UserError
from utils.base.plain_yaml import read_plain_yaml
from utils.base.text_files import read_text

BOX = 5  # numbers of a line that is a box: class, centre, size
LINE = re.compile(rb"\s*\d+(\.0*)?(\s+-?[\d.]+(e-?\d+)?){2,}\s*", re.IGNORECASE)
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
NOT_LABELS = ("classes.txt", "labels.txt", "readme.txt")


def recognise(source: Source) -> bool:
    """See `forms`."""
    if any(is_data_yaml(path) for path in source.ending(".yaml", ".yml")):
        return True
    texts = source.ending(".txt")
    return any(LINE.fullmatch(first_line(path)) for path in texts[:SAMPLE])


def is_data_yaml(path: Path) -> bool:
    """Whether a YAML file names classes and folders of images."""
    try:
        text = read_text(path)
    except UserError:
        return False
    keys = set(re.findall(r"^(names|train|val|path)\s*:", text, re.MULTILINE))
    return "names" in keys and len(keys) > 1


def first_line(path: Path) -> bytes:
    """The first line that is not empty, or b""."""
    with open(path, "rb") as file:
        return next((line for line in file.read(65536).splitlines() if line.strip()), b"")


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    names = names_of_classes(source)
    images: list[AnnotatedImage] = []
    skipped: list[Skipped] = []
    boxes = 0
    for path in source.ending(".txt"):
        if not is_label_file(path, source.folder):
            continue
        shapes, found = read_labels(path, names, skipped)
        boxes += found
        relative = path.relative_to(source.folder)
        parts = list(relative.with_suffix("").parts)
        if "labels" in parts:
            parts[len(parts) - 1 - parts[::-1].index("labels")] = "images"
        split = next((SPLITS[part.lower()] for part in relative.parts[:-1] if part.lower() in SPLITS), None)
        images.append(AnnotatedImage(str(path), ["/".join(parts)], source.folder, shapes, (path,), split=split))
    if boxes and not any(image.shapes for image in images):
        raise UserError(f"{source.path}: its {boxes} objects are boxes (detection). Boxes alone give no masks.")
    return Found(images, [names[number] for number in sorted(names)], skipped=skipped)


def is_label_file(path: Path, folder: Path) -> bool:
    """Whether a text file below a folder holds objects; an empty one does if it lies in a folder of labels."""
    first, is_beside_labels = first_line(path), "labels" in (folder.name, *path.relative_to(folder).parts)
    if not first:
        return is_beside_labels
    return path.name.lower() not in NOT_LABELS and (is_beside_labels or LINE.fullmatch(first) is not None)


def read_labels(path: Path, names: Mapping[int, str], skipped: list[Skipped]) -> tuple[list[Shape], int]:
    """The objects of a file, and how many boxes were left out."""
    refuse_large(path)
    shapes, boxes = [], 0
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        where = f"{path}, line {number}"
        cells = line.split()
        if not cells:
            continue
        index, *points = (number_of(cell, where) for cell in cells)
        if index < 0 or not index.is_integer() or (names and index not in names):
            raise UserError(f"{where}: {short(cells[0])} is no class; there are 0 to {max(names, default=0)}.")
        if len(cells) == BOX:
            boxes += 1
            skipped.append((where, "is a box, which gives no mask"))
            continue
        if len(points) % 2 or len(points) < 6:
            raise UserError(f"{where}: needs a class and three points or more; it has {len(points)} coordinates.")
        if max(map(abs, points)) > 10:
            raise UserError(f"{where}: has {max(points, key=abs):g}; coordinates are shares of the image, from 0 to 1.")
        shapes.append(Shape(where, names.get(int(index), f"class{int(index)}"), [Polygon(points, (), True)], number))
    return shapes, boxes


def names_of_classes(source: Source) -> dict[int, str]:
    """`{number: name}`; empty if no file says them.

    Raises:
        UserError: the file is no plain YAML, or its names are none.
    """
    for path in source.ending(".yaml", ".yml"):
        if is_data_yaml(path):
            try:
                names = read_plain_yaml(read_text(path)).get("names")
            except ValueError as error:
                raise UserError(f"{path}: {error}.") from None
            listed = dict(names.items()) if isinstance(names, Mapping) else {}
            if isinstance(names, Sequence) and not isinstance(names, str):
                listed = dict(enumerate(names))
            if not listed or not all(isinstance(key, int) for key in listed):
                raise UserError(f"{path}: names is {short(names)}, not a list of classes.")
            return {key: str(name) for key, name in listed.items()}
    lists = [path for path in source.ending("classes.txt") if path.name.lower() == "classes.txt"]
    lines = [line.strip() for line in read_text(lists[0]).splitlines()] if lists else []
    return {number: name for number, name in enumerate(lines) if name}
