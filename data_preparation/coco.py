"""Annotations in the format of COCO: polygons and run-length codes, categories chosen by name or number.

    python data_preparation/coco.py 'annotations/instances_{split}2017.json' '{split}2017' data --categories person dog
    python data_preparation/coco.py 'mapping/{split}/annotation.json' 'mapping/{split}/images' data

`{split}` stands for train, val and test: the published split is kept. Without it --val and --test draw one.

Class 0 is the background, the chosen categories are classes 1, 2, ... in the order they are typed (all: in the order of
their numbers). Where instances overlap, the smaller lies on top, of equal ones the later; crowd regions lie below all.
Pixels are those that pycocotools gives.
"""

import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

import numpy as np
from pycocotools import mask as coco_mask

from data_preparation.common.command_line import command
from data_preparation.common.dataset_writer import Item, Plan
from data_preparation.common.listing import refuse
from data_preparation.common.splits import by_split, with_splits
from utils.base.errors import UserError
from utils.base.registry import list_choices

CROWD = ("include", "skip", "ignore")


def plan(options):
    if not 1 <= options.ignore <= 255:
        raise UserError(f"--ignore {options.ignore} must be 1 to 255.")
    items, skipped = [], []
    for split, (annotations, images) in by_split(options.annotations, options.images).items():
        more, left_out = plan_split(split, annotations, images, options)
        items += more
        skipped += left_out
    return Plan(with_splits(items, [item.name for item in items], options), draw, skipped)


def plan_split(split, path, folder, options):
    """Return `(items, skipped)` of one annotation file; its images in the order of their names."""
    data = read_json(path)
    categories = number_by(data["categories"], "id", f"{path}: category")
    classes = choose_categories(path, categories, options.categories)
    images = number_by(data["images"], "id", f"{path}: image")
    number_by(data["annotations"], "id", f"{path}: annotation")
    shapes, skipped = {number: [] for number in images}, []
    for annotation in data["annotations"]:
        name = f"{path}: annotation {annotation['id']}"
        if annotation.get("image_id") not in images:
            raise UserError(f"{name} belongs to image {annotation.get('image_id')}, which is not listed.")
        if annotation.get("category_id") not in categories:
            raise UserError(f"{name} is of category {annotation.get('category_id')}, which is not listed.")
        label = classes.get(annotation["category_id"])
        if label is None:
            continue
        crowd = bool(annotation.get("iscrowd"))
        if crowd and options.crowd == "skip":
            skipped.append((name, "crowd region"))
        elif not annotation.get("segmentation"):
            skipped.append((name, "no segmentation"))
        else:
            label = options.ignore if crowd and options.crowd == "ignore" else label
            shapes[annotation["image_id"]].append((name, label, crowd, annotation["segmentation"]))

    items, problems = [], []
    for number, image in sorted(images.items(), key=lambda entry: str(entry[1].get("file_name"))):
        picture = folder / str(image.get("file_name"))
        if not picture.is_file():
            problems.append(f"{path}: image {number} is {picture}, which does not exist.")
        elif not shapes[number] and options.empty == "skip":
            skipped.append((picture, "nothing of the chosen categories"))
        else:
            detail = (path, number, image.get("height"), image.get("width"), shapes[number])
            items.append(Item(split, picture, picture.stem, picture.stem, detail, (path,)))
    refuse(problems)
    return items, skipped


def read_json(path):
    """The three lists of an annotation file.

    Raises:
        UserError: not JSON, cut short, or without those lists.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not a whole JSON file ({error}). Copy it again.") from None
    for key in ("images", "annotations", "categories"):
        entries = data.get(key) if isinstance(data, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{path}: holds no list of {key}, as the format of COCO has.")
    return data


def number_by(entries, key, name):
    """`{entry[key]: entry}`; a number that is missing or there twice is an error."""
    numbered = {}
    for entry in entries:
        number = entry.get(key)
        if not isinstance(number, (int, str)):
            raise UserError(f"{name} without {key}: {str(entry)[:80]}")
        if number in numbered:
            raise UserError(f"{name} {number} is there twice.")
        numbered[number] = entry
    return numbered


def choose_categories(path, categories, wanted):
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


def draw(item, height, width):
    """The mask of an image: its instances, crowds first, then from large to small."""
    path, number, listed_height, listed_width, shapes = item.detail
    if (listed_height, listed_width) != (height, width):
        raise UserError(
            f"{item.image}: is {height}x{width} pixels, {path} says {listed_height}x{listed_width} of image {number}."
        )
    parts = []
    for name, label, crowd, segmentation in shapes:
        if isinstance(segmentation, list):
            top, left, crop = draw_polygons(segmentation, height, width, name)
        else:
            top, left, crop = 0, 0, decode_runs(segmentation, height, width, name)
        parts.append((not crowd, -np.count_nonzero(crop), label, top, left, crop))
    mask = np.zeros((height, width), np.uint8)
    for _, _, label, top, left, crop in sorted(parts, key=lambda part: part[:2]):
        region = mask[top : top + crop.shape[0], left : left + crop.shape[1]]
        np.copyto(region, np.uint8(label), where=crop.view(bool))
    return mask


def draw_polygons(polygons, height, width, name):
    """Return `(top, left, crop)`: what pycocotools draws, but only the part of the image where something is."""
    reach = 10 * max(height, width)
    whole = []
    for polygon in polygons:
        try:
            points = np.array(polygon, float)
        except (ValueError, TypeError):
            points = np.zeros(1)
        if points.ndim != 1 or len(points) % 2:
            raise UserError(f"{name}: a polygon is a list of numbers x, y, x, y, ...")
        if len(points) and not np.abs(points).max() <= reach:  # not a number is not below anything either
            raise UserError(f"{name}: a polygon goes to {points[np.abs(points).argmax()]:g}, far outside the image.")
        if len(points) >= 6:  # two points enclose nothing
            whole.append(points)
    if not whole:
        return 0, 0, np.zeros((0, 0), np.uint8)
    # The frame ends below and right of the polygon, which saves time, but begins where the image does: pycocotools
    # rounds some pixels of a shifted polygon differently. The empty columns left of it go before the code is decoded.
    every = np.concatenate(whole) if len(whole) > 1 else whole[0]
    left, right = bounds(every[::2], width)
    top, bottom = bounds(every[1::2], height)
    if left >= right or top >= bottom:
        return 0, 0, np.zeros((0, 0), np.uint8)
    runs = coco_mask.frPyObjects(whole, bottom, right)
    runs = coco_mask.merge(runs) if len(runs) > 1 else runs[0]
    return top, left, coco_mask.decode(drop_columns(runs, left))[top:].copy()


def drop_columns(runs, columns):
    """A run-length code of pycocotools without its first columns, which are empty.

    Codes go down the columns and tell the leading zeros first; no other count depends on that one.
    """
    height, width = runs["size"]
    text = runs["counts"]
    first, end = 0, 0
    while text[end] - 48 & 32:  # `expand_counts` tells how counts are written
        first |= (text[end] - 48 & 31) << 5 * end
        end += 1
    first |= (text[end] - 48 & 31) << 5 * end
    first -= columns * height
    start = bytearray()
    while first > 15:  # the highest bit of the last character would be a sign
        start.append((first & 31 | 32) + 48)
        first >>= 5
    start.append(first + 48)
    return {"size": [height, width - columns], "counts": bytes(start) + text[end + 1 :]}


def bounds(numbers, size):
    """First pixel and the one after the last that a polygon may reach, with one to spare, within the image."""
    return max(math.floor(numbers.min()) - 2, 0), min(math.ceil(numbers.max()) + 2, size)


def decode_runs(segmentation, height, width, name):
    """A run-length code, its counts a list or a (compressed) text -> uint8 `(height, width)`."""
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if not isinstance(counts, (list, str)):
        raise UserError(f"{name}: the segmentation is neither polygons nor a run-length code.")
    if segmentation.get("size") != [height, width]:
        raise UserError(f"{name}: the run-length code is of size {segmentation.get('size')}, not {[height, width]}.")
    if isinstance(counts, str):
        counts = expand_counts(counts, name)
    if not all(type(count) is int and count >= 0 for count in counts):
        raise UserError(f"{name}: the counts of a run-length code are whole numbers from 0.")
    if sum(counts) != height * width:
        raise UserError(f"{name}: the run-length code tells of {sum(counts)} pixels, the image has {height * width}.")
    flat = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
    return flat.reshape(width, height).T


def expand_counts(text, name):
    """The counts that COCO's text stands for: 5 bits a character, from the lowest, the sixth says that more follow.

    From the third count on the text holds the difference from the one before the last. Decoded here, as pycocotools
    does not check what it reads.
    """
    counts, value, bits = [], 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or bits > 60:
            raise UserError(f"{name}: the text of the run-length code is damaged.")
        value |= (code & 31) << bits
        bits += 5
        if not code & 32:
            value -= (1 << bits) if code & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = bits = 0
    if bits:
        raise UserError(f"{name}: the text of the run-length code is cut short.")
    return counts


main = command(
    __doc__,
    {"annotations": "annotation file, may hold {split}", "images": "folder of images, may hold {split}"},
    plan,
    {
        "--categories": {"nargs": "+", "help": "names or numbers, in the order of the classes (default: all)"},
        "--crowd": {
            "choices": CROWD,
            "default": "include",
            "help": "crowd regions (default include: as their category)",
        },
        "--ignore": {
            "type": int,
            "default": 255,
            "help": "pixel value of crowd regions with --crowd ignore (default 255)",
        },
        "--empty": {
            "choices": ("keep", "skip"),
            "default": "keep",
            "help": "images with nothing on them (default keep)",
        },
    },
)

if __name__ == "__main__":
    main()
