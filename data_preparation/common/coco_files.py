"""Annotation files of COCO: their lists, ids and categories."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.base.errors import UserError
from utils.base.registry import list_choices
from utils.base.text_files import check_file_name, read_json

Id = int | str
Entries = dict[Id, dict]  # id -> entry of a list


def read_annotations(path: Path) -> dict[str, list[dict]]:
    """The three lists of an annotation file.

    Raises:
        UserError: see `read_json`; or a list is missing.
    """
    return annotation_lists(path, read_json(path))


def annotation_lists(path: Path, data: Any) -> dict[str, list[dict]]:
    """The content of an annotation file, whose three lists are there; raises as `read_annotations` does."""
    for key in ("images", "annotations", "categories"):
        entries = data.get(key) if isinstance(data, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{path}: has no list of {key}, which the format of COCO requires.")
    return data


def read_id(entry: Mapping[str, Any], key: str, name: str) -> Id:
    """An id in an entry; tables that were converted have 7.0 for 7.

    Raises:
        UserError: there is none, or it is neither an integer nor a text.
    """
    number = entry.get(key)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    if not isinstance(number, (int, str)) or isinstance(number, bool):
        raise UserError(f"{name} without {key}, an integer or a text: {str(entry)[:80]}")
    return number


def number_by_id(entries: Sequence[dict], name: str) -> Entries:
    """`{id: entry}`.

    Raises:
        UserError: an id is missing, or used twice.
    """
    numbered: Entries = {}
    for entry in entries:
        number = read_id(entry, "id", name)
        if number in numbered:
            raise UserError(f"{name} {number} is listed twice.")
        numbered[number] = entry
    return numbered


def read_crowd(annotation: Mapping[str, Any], name: str) -> bool:
    """Whether an annotation is a crowd region.

    Raises:
        UserError: iscrowd is not 0 or 1.
    """
    value = annotation.get("iscrowd")
    if value not in (None, 0, 1):
        raise UserError(f"{name}: iscrowd is {str(value)[:40]}, not 0 or 1.")
    return bool(value)


def image_file(folder: Path, image: Mapping[str, Any], name: str) -> Path:
    """The file of an image.

    Raises:
        UserError: file_name is no text, or leads out of the folder of images.
    """
    value = image.get("file_name")
    if not isinstance(value, str) or not value:
        raise UserError(f"{name} has no file_name: {str(image)[:80]}")
    file = folder / check_file_name(value, name)
    if ".." in Path(value).parts or not file.is_relative_to(folder):
        raise UserError(f"{name}: the file_name {value} leads out of the folder {folder}. Make it relative to it.")
    return file


def image_size(image: Mapping[str, Any], name: str) -> tuple[int, int]:
    """`(height, width)` of an image, which the format of COCO requires.

    Raises:
        UserError: one is missing, or no whole number from 1.
    """
    size = [image.get(key) for key in ("height", "width")]
    numbers = [number for number in size if isinstance(number, int | float) and not isinstance(number, bool)]
    whole = [int(number) for number in numbers if number == number // 1]  # converted tables have 7.0 for 7
    if len(whole) < 2 or min(whole) < 1:
        raise UserError(
            f"{name} has the height {size[0]!r:.20} and the width {size[1]!r:.20}. Give both as whole numbers "
            "of pixels: they tell whether its polygons belong to this picture."
        )
    return whole[0], whole[1]


def refuse_listed_twice(files: Mapping[Id, Path], name: str) -> None:
    """Raise a UserError if two entries are one file: each would have a part of its annotations."""
    first: dict[Path, Id] = {}
    for number, file in files.items():
        other = first.setdefault(file, number)
        if other != number:
            raise UserError(f"{name}: images {other} and {number} are both {file}. Merge the two entries.")


def find_placeholder(categories: Entries, annotations: Sequence[dict]) -> Id | None:
    """The category 0 that Roboflow writes as a heading of all others and never uses, or None."""
    others = [category for number, category in categories.items() if number != 0]
    if 0 not in categories or not others:
        return None
    name = categories[0].get("name")
    is_heading = all(category.get("supercategory") == name for category in others)
    is_used = any(annotation.get("category_id") == 0 for annotation in annotations)
    return 0 if is_heading and not is_used else None


def choose_categories(
    path: Path, categories: Entries, wanted: Sequence[str] | None, placeholder: Id | None = None
) -> dict[Id, int]:
    """`{category id: class}`, classes from 1.

    Args:
        path: for messages.
        categories: of the file.
        wanted: names or ids; None means all but the placeholder.
        placeholder: see `find_placeholder`.

    Raises:
        UserError: a category that is not listed, is chosen twice, or has the name of another.
    """
    numbers = sorted(categories, key=lambda number: (isinstance(number, str), number))
    choices = [f"{number} {categories[number].get('name')}" for number in numbers]
    chosen = []
    for name in wanted or []:
        found = [number for number in numbers if name in (str(number), str(categories[number].get("name")))]
        if not found:
            raise UserError(f"{path}: has no category {name}. {list_choices(name, choices)}")
        if len(found) > 1:
            named = [choice for choice, number in zip(choices, numbers, strict=True) if number in found]
            raise UserError(f"{path}: --categories {name} could be any of: {', '.join(named)}. {unambiguous(named)}")
        chosen += found
    if not wanted:
        chosen = [number for number in numbers if number != placeholder]
    if len(set(chosen)) < len(chosen) or len(chosen) > 255:
        raise UserError(f"--categories: {len(chosen)} categories, some twice, or more than 255.")
    return {number: index for index, number in enumerate(chosen, start=1)}


def unambiguous(named: Sequence[str]) -> str:
    """What to do about categories that a word does not tell apart."""
    return "Choose by number." if len({name.split(" ", 1)[1] for name in named}) == 1 else "Rename one in the file."


def class_names(categories: Entries, classes: Mapping[Id, int]) -> list[str]:
    """The names of the chosen categories, in the order of their classes."""
    return [str(categories[number].get("name")) for number in classes]
