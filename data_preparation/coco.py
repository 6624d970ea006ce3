"""Convert annotations in the format of COCO: polygons and run-length encodings, categories chosen by name or number.

    python data_preparation/coco.py 'annotations/instances_{split}2017.json' '{split}2017' data --categories person dog
    python data_preparation/coco.py 'mapping/{split}/annotation.json' 'mapping/{split}/images' data

`{split}` stands for train, val and test: the published split is kept. Without it --val and --test draw one.

Class 0 is the background; the chosen categories are classes 1, 2, ... in the order given (by default all, in the order
of their numbers). Where instances overlap, the smaller one is on top, of equal ones the later one; crowd regions are
below all others. The pixels are those of pycocotools.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np

from data_preparation.common.coco_segmentations import draw_segmentation
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, NewPair
from data_preparation.common.image_files import Skipped, raise_problems
from data_preparation.common.splits import paths_by_split, with_splits
from utils.base.errors import UserError
from utils.base.registry import list_choices

CROWD = ("include", "skip", "ignore")


class Instance(NamedTuple):
    """An annotation. name: for messages; label: its class; is_crowd: it lies below the others."""

    name: str
    label: int
    is_crowd: bool
    segmentation: Any


class ImageInstances(NamedTuple):
    """The instances of an image, and what the annotation file says about it."""

    path: Path
    number: int | str
    height: int | None
    width: int | None
    instances: list[Instance]


def collect(options: Namespace) -> Conversion:
    """Find the images of all splits and their instances."""
    if not 1 <= options.ignore <= 255:
        raise UserError(f"--ignore {options.ignore} must be 1 to 255.")
    pairs: list[NewPair] = []
    skipped: list[Skipped] = []
    for split, (annotations, images) in paths_by_split(options.annotations, options.images).items():
        new_pairs, new_skipped = collect_split(split, annotations, images, options)
        pairs += new_pairs
        skipped += new_skipped
    return Conversion(with_splits(pairs, [pair.name for pair in pairs], options), draw_mask, skipped)


def collect_split(
    split: str | None, path: Path, folder: Path, options: Namespace
) -> tuple[list[NewPair], list[Skipped]]:
    """Return `(pairs, skipped)` of one annotation file; images in the order of their names."""
    data = read_annotations(path)
    images = number_by_id(data["images"], f"{path}: image")
    instances, skipped = collect_instances(path, data, images, options)
    pairs, problems = [], []
    for number, image in sorted(images.items(), key=lambda entry: str(entry[1].get("file_name"))):
        file = folder / str(image.get("file_name"))
        if not file.is_file():
            problems.append(f"{path}: image {number} is {file}, which does not exist.")
        elif not instances[number] and options.empty == "skip":
            skipped.append((file, "no instances of the chosen categories"))
        else:
            described = ImageInstances(path, number, image.get("height"), image.get("width"), instances[number])
            pairs.append(NewPair(split, file, file.stem, file.stem, described, (path,)))
    raise_problems(problems)
    return pairs, skipped


def collect_instances(
    path: Path, data: dict, images: dict, options: Namespace
) -> tuple[dict[int | str, list[Instance]], list[Skipped]]:
    """Return `({image id: instances of the chosen categories}, skipped)`."""
    categories = number_by_id(data["categories"], f"{path}: category")
    classes = choose_categories(path, categories, options.categories)
    number_by_id(data["annotations"], f"{path}: annotation")
    instances: dict[int | str, list[Instance]] = {number: [] for number in images}
    skipped: list[Skipped] = []
    for annotation in data["annotations"]:
        name = f"{path}: annotation {annotation['id']}"
        if annotation.get("image_id") not in images:
            raise UserError(f"{name} belongs to image {annotation.get('image_id')}, which is not listed.")
        if annotation.get("category_id") not in categories:
            raise UserError(f"{name} has category {annotation.get('category_id')}, which is not listed.")
        label = classes.get(annotation["category_id"])
        if label is None:
            continue
        is_crowd = bool(annotation.get("iscrowd"))
        if is_crowd and options.crowd == "skip":
            skipped.append((name, "crowd region"))
        elif not annotation.get("segmentation"):
            skipped.append((name, "no segmentation"))
        else:
            label = options.ignore if is_crowd and options.crowd == "ignore" else label
            instance = Instance(name, label, is_crowd, annotation["segmentation"])
            instances[annotation["image_id"]].append(instance)
    return instances, skipped


def read_annotations(path: Path) -> dict[str, list[dict]]:
    """The three lists of an annotation file.

    Raises:
        UserError: not JSON, truncated, or a list is missing.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not a complete JSON file ({error}). Copy it again.") from None
    for key in ("images", "annotations", "categories"):
        entries = data.get(key) if isinstance(data, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{path}: has no list of {key}, which the format of COCO requires.")
    return data


def number_by_id(entries: list[dict], name: str) -> dict[int | str, dict]:
    """`{entry["id"]: entry}`.

    Raises:
        UserError: an id is missing, or used twice.
    """
    numbered: dict[int | str, dict] = {}
    for entry in entries:
        number = entry.get("id")
        if not isinstance(number, (int, str)):
            raise UserError(f"{name} without id: {str(entry)[:80]}")
        if number in numbered:
            raise UserError(f"{name} {number} is listed twice.")
        numbered[number] = entry
    return numbered


def choose_categories(
    path: Path, categories: dict[int | str, dict], wanted: Sequence[str] | None
) -> dict[int | str, int]:
    """`{category id: class}`, classes from 1; `wanted` are names or ids, None means all."""
    numbers = sorted(categories, key=lambda number: (isinstance(number, str), number))
    by_name = {str(categories[number].get("name")): number for number in numbers}
    by_name = {**{str(number): number for number in numbers}, **by_name}
    for name in wanted or []:
        if name not in by_name:
            choices = [f"{number} {categories[number].get('name')}" for number in numbers]
            raise UserError(f"{path}: has no category {name}. {list_choices(name, choices)}")
    chosen = [by_name[name] for name in wanted] if wanted else numbers
    if len(set(chosen)) < len(chosen) or len(chosen) > 255:
        raise UserError(f"--categories: {len(chosen)} categories, some twice, or more than 255.")
    return {number: index for index, number in enumerate(chosen, start=1)}


def draw_mask(pair: NewPair, height: int, width: int) -> np.ndarray:
    """The mask of an image: its instances, crowds first, then from large to small."""
    path, number, listed_height, listed_width, instances = pair.annotation
    if (listed_height, listed_width) != (height, width):
        raise UserError(
            f"{pair.image}: is {height}x{width} pixels, but {listed_height}x{listed_width} according to {path}, image "
            f"{number}."
        )
    regions = [
        (instance, draw_segmentation(instance.segmentation, height, width, instance.name)) for instance in instances
    ]
    regions.sort(key=lambda drawn: (not drawn[0].is_crowd, -np.count_nonzero(drawn[1].pixels)))
    mask = np.zeros((height, width), np.uint8)
    for instance, (top, left, pixels) in regions:
        part = mask[top : top + pixels.shape[0], left : left + pixels.shape[1]]
        np.copyto(part, np.uint8(instance.label), where=pixels.view(bool))
    return mask


main = dataset_command(
    __doc__,
    {"annotations": "annotation file, may contain {split}", "images": "folder of images, may contain {split}"},
    collect,
    {
        "--categories": {"nargs": "+", "help": "names or numbers, in the order of the classes (default: all)"},
        "--crowd": {
            "choices": CROWD,
            "default": "include",
            "help": "crowd regions: include them in their category (default), skip or ignore them",
        },
        "--ignore": {
            "type": int,
            "default": 255,
            "help": "pixel value of crowd regions with --crowd ignore (default 255)",
        },
        "--empty": {
            "choices": ("keep", "skip"),
            "default": "keep",
            "help": "images without instances (default keep)",
        },
    },
)

if __name__ == "__main__":
    main()
