"""Convert annotations in the format of COCO: polygons and run-length encodings, categories chosen by name or number.

    python data_preparation/coco.py 'annotations/instances_{split}2017.json' '{split}2017' data --categories person dog
    python data_preparation/coco.py 'mapping/{split}/annotation.json' 'mapping/{split}/images' data

`{split}` stands for train, val and test: the published split is kept. Without it --val and --test draw one.

Class 0 is the background; the chosen categories are classes 1, 2, ... in the order given (by default all, in the order
of their numbers). Where instances overlap, the smaller one is on top, of equal ones the later one; crowd regions are
below all others. The pixels are those of pycocotools. With --multi-label classes may overlap: bit c - 1 of a mask's
value says whether class c is there, up to class 8 (train with OUTPUT.MULTI_LABEL=True). --objects keeps the instances
themselves, without crowds, as label images; --border N and --border-class keep those apart that touch.
"""

import functools
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np

from data_generators.files.preparation import is_name
from data_preparation.common.coco_files import (
    choose_categories,
    class_names,
    find_placeholder,
    image_file,
    image_size,
    number_by_id,
    read_annotations,
    read_crowd,
    read_id,
    refuse_listed_twice,
)
from data_preparation.common.coco_segmentations import (
    COVERS_NOTHING,
    NO_SEGMENTATION,
    covers_no_pixel,
    draw_segmentation,
    enclosing_parts,
)
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, MadeMask, NewPair
from data_preparation.common.image_files import Skipped, raise_problems
from data_preparation.common.objects import OBJECT_OPTIONS, ObjectMasks
from data_preparation.common.painting import Painted, paint, rank_by_size
from data_preparation.common.splits import paths_by_split, with_splits
from utils.base.class_bits import MOST_CLASSES, bit_of
from utils.base.errors import UserError

CROWD = ("include", "skip", "ignore")


class Instance(NamedTuple):
    """An annotation. name: for messages; label: its value; is_crowd: it lies below the others."""

    name: str
    label: int
    is_crowd: bool
    segmentation: Any


class ImageInstances(NamedTuple):
    """The instances of an image, and what the annotation file says about it."""

    path: Path
    number: int | str
    height: int
    width: int
    instances: list[Instance]


def collect(options: Namespace) -> Conversion:
    """Find the images of all splits and their instances."""
    if not 1 <= options.ignore <= 255:
        raise UserError(f"--ignore {options.ignore} must be 1 to 255.")
    pairs: list[NewPair] = []
    skipped: list[Skipped] = []
    names: dict[Path, list[str]] = {}
    for split, (annotations, images) in paths_by_split(options.annotations, options.images).items():
        new_pairs, new_skipped, names[annotations] = collect_split(split, annotations, images, options)
        pairs += new_pairs
        skipped += new_skipped
    if pairs and not skipped and not any(pair.annotation.instances for pair in pairs):
        raise UserError(
            f"{next(iter(names))}: no image has an instance of the categories, so that every mask would be empty."
        )
    check_same_classes(names)
    found = ["background", *next(iter(names.values()))]
    chosen = ObjectMasks.from_options(options, len(found))
    found = chosen.class_names(found)
    usable = len(set(found)) == len(found) and all(map(is_name, found))
    pairs = with_splits(pairs, [pair.name for pair in pairs], options)
    if options.multi_label:
        check_bits(options, len(found) - 1)
    ignored = options.ignore if options.crowd == "ignore" else -1
    make_mask = functools.partial(draw_mask, multi_label=options.multi_label, ignored=ignored, chosen=chosen)
    return Conversion(pairs, make_mask, skipped, found if usable else None, options.multi_label, chosen.objects)


def check_bits(options: Namespace, classes: int) -> None:
    """Raise a UserError if there are more classes than bits, or if the ignored value is one of theirs."""
    if classes > MOST_CLASSES:
        raise UserError(
            f"--multi-label takes up to {MOST_CLASSES} categories, not {classes}: choose some with --categories."
        )
    if options.crowd == "ignore" and options.ignore < 2**classes:
        raise UserError(
            f"--ignore {options.ignore} is the value of overlapping classes: {classes} have 0 to {2**classes - 1}."
        )


def check_same_classes(names: Mapping[Path, Sequence[str]]) -> None:
    """Raise a UserError if a class is not the same category in the annotation files of all splits."""
    first, *others = names
    for path in others:
        if names[path] != names[first]:
            raise UserError(
                f"{first} has the categories {', '.join(names[first])}, but {path} has {', '.join(names[path])}: "
                "classes would differ between the splits. Name them in one order with --categories."
            )


def collect_split(
    split: str | None, path: Path, folder: Path, options: Namespace
) -> tuple[list[NewPair], list[Skipped], list[str]]:
    """Return `(pairs, skipped, names of the classes)` of one annotation file; images in the order of their names."""
    data = read_annotations(path)
    images = number_by_id(data["images"], f"{path}: image")
    files = {number: image_file(folder, image, f"{path}: image {number}") for number, image in images.items()}
    refuse_listed_twice(files, str(path))
    instances, skipped, names = collect_instances(path, data, images, options)
    pairs, problems = [], []
    for number, file in sorted(files.items(), key=lambda entry: str(entry[1])):
        if not file.is_file():
            problems.append(f"{path}: image {number} is {file}, which does not exist.")
        elif not instances[number] and options.empty == "skip":
            skipped.append((file, "no instances of the chosen categories"))
        else:
            size = image_size(images[number], f"{path}: image {number}")
            described = ImageInstances(path, number, *size, instances[number])
            pairs.append(NewPair(split, file, file.stem, file.stem, described, (path,)))
    raise_problems(problems)
    return pairs, skipped, names


def collect_instances(
    path: Path, data: dict, images: dict, options: Namespace
) -> tuple[dict[int | str, list[Instance]], list[Skipped], list[str]]:
    """Return `({image id: instances of the chosen categories}, skipped, names of the classes)`."""
    categories = number_by_id(data["categories"], f"{path}: category")
    placeholder = find_placeholder(categories, data["annotations"])
    classes = choose_categories(path, categories, options.categories, placeholder)
    instances: dict[int | str, list[Instance]] = {number: [] for number in images}
    skipped: list[Skipped] = []
    if placeholder is not None and placeholder not in classes and not options.categories:
        name = f"{path}: category {placeholder} {categories[placeholder].get('name')}"
        skipped.append((name, "heading of the others, no annotation has it; --categories can name it"))
    for number, annotation in number_by_id(data["annotations"], f"{path}: annotation").items():
        name = f"{path}: annotation {number}"
        image, category = read_id(annotation, "image_id", name), read_id(annotation, "category_id", name)
        if image not in images:
            raise UserError(f"{name} belongs to image {image!r}, which is not listed.")
        if category not in categories:
            raise UserError(f"{name} has category {category!r}, which is not listed.")
        label = classes.get(category)
        if label is None:
            continue
        is_crowd = read_crowd(annotation, name)
        if is_crowd and options.crowd == "skip":
            skipped.append((name, "crowd region"))
            continue
        segmentation, reason = enclosing_parts(annotation.get("segmentation"))
        if reason:
            skipped.append((name, reason))
        if segmentation:
            if is_crowd and options.crowd == "ignore":
                label = options.ignore
            elif options.multi_label:
                label = bit_of(label, name)
            instances[image].append(Instance(name, label, is_crowd, segmentation))
    refuse_shares(path, [instance for found in instances.values() for instance in found])
    for number, found in instances.items():
        size = image_size(images[number], f"{path}: image {number}") if found else (0, 0)
        missed = {one.name for one in found if covers_no_pixel(one.segmentation, *size, one.name)}
        skipped += [(name, COVERS_NOTHING) for name in sorted(missed)]
        instances[number] = [one for one in found if one.name not in missed]
    without = [name for name, reason in skipped if reason == NO_SEGMENTATION]
    if without and not any(instances.values()):
        raise UserError(
            f"{path}: no annotation has a segmentation ({len(without)} without one). Boxes alone give no masks."
        )
    return instances, skipped, class_names(categories, classes)


def refuse_shares(path: Path, instances: Sequence[Instance]) -> None:
    """Raise a UserError if polygons are all within one pixel: coordinates from 0 to 1 would be drawn as nothing."""
    polygons = [instance.segmentation for instance in instances if isinstance(instance.segmentation, list)]
    numbers = [number for parts in polygons for part in parts if isinstance(part, list) for number in part]
    try:
        shares = bool(numbers) and max(map(float, numbers)) <= 1
    except (TypeError, ValueError):
        return  # drawing them names the annotation
    if shares:
        raise UserError(f"{path}: the polygons have coordinates from 0 to 1, shares of the image; COCO has pixels.")


def draw_mask(
    pair: NewPair,
    height: int,
    width: int,
    multi_label: bool = False,
    ignored: int = -1,
    chosen: ObjectMasks = ObjectMasks(),  # noqa: B008 (an immutable value)
) -> np.ndarray | MadeMask:
    """The mask of an image: its instances, crowds first, then from large to small.

    With `multi_label` the bit of each class; what an instance covers is no longer `ignored`.
    """
    path, number, listed_height, listed_width, instances = pair.annotation
    if (listed_height, listed_width) != (height, width):
        raise UserError(
            f"{pair.image}: is {height}x{width} pixels, but {listed_height}x{listed_width} according to {path}, image "
            f"{number}."
        )
    painted = []
    for instance in instances:
        region = draw_segmentation(instance.segmentation, height, width, instance.name)
        rank = rank_by_size(instance.is_crowd, int(np.count_nonzero(region.pixels)))
        painted.append(Painted(region, instance.label, rank))
    mask = paint(painted, height, width, multi_label, ignored)
    if chosen.is_plain:
        return mask
    numbers = [0 if instance.is_crowd else number for number, instance in enumerate(instances, start=1)]
    numbered = [one._replace(label=number) for one, number in zip(painted, numbers, strict=True)]
    return chosen.finish(mask, paint(numbered, height, width, dtype=np.int32), pair.image)


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
        "--multi-label": {"action": "store_true", "help": "classes may overlap: a bit of the mask's value each"},
        "--empty": {
            "choices": ("keep", "skip"),
            "default": "keep",
            "help": "images without instances (default keep)",
        },
        **OBJECT_OPTIONS,
    },
)

if __name__ == "__main__":
    main()
