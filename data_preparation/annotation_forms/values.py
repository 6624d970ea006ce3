"""Check what stands in annotation files: types, numbers, lists of points, colours."""

import math
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from data_preparation.annotation_forms.records import Colour
from utils.base.errors import UserError

Kind = TypeVar("Kind")
NAMES = {dict: "a group of keys", list: "a list", str: "a text", int: "a whole number"}
NO_AREA = "a {} encloses nothing"
TOO_FEW = "fewer than three points enclose nothing"


def entry_of(content: Any, key: str, kind: type[Kind], where: str) -> Kind:
    """The entry of a group.

    Raises:
        UserError: there is none, or it is of another kind; `where` names the group.
    """
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{where}: {key} is {short(value)}, not {NAMES[kind]}.")
    return value


def groups_of(content: Any, key: str, where: str) -> list[dict]:
    """The entry of a group that is a list of groups."""
    found = entry_of(content, key, list, where)
    for value in found:
        if not isinstance(value, dict):
            raise UserError(f"{where}: {key} holds {short(value)}, not {NAMES[dict]}.")
    return found


def number_of(value: object, where: str) -> float:
    """A finite number, also one written as a text."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise UserError(f"{where}: {short(value)} stands where a number belongs.")
    return found


def whole_of(value: object, where: str) -> int:
    """A whole number."""
    found = number_of(value, where)
    if not found.is_integer() or abs(found) > 1e9:
        raise UserError(f"{where}: {short(value)} stands where a whole number belongs.")
    return int(found)


def points_of(points: object, where: str) -> list[float]:
    """The numbers x, y, x, y, ... of a list of points `[x, y]`."""
    if not isinstance(points, list) or any(not isinstance(point, list) or len(point) < 2 for point in points):
        raise UserError(f"{where}: the points are {short(points)}, not a list of [x, y].")
    return [number_of(value, where) for point in points for value in point[:2]]


def size_of(content: dict, height: str, width: str, where: str) -> tuple[int, int] | None:
    """`(height, width)` of an image from two keys of a group; None if both are missing or null."""
    if content.get(height) is None and content.get(width) is None:
        return None
    size = whole_of(content.get(height), f"{where}: {height}"), whole_of(content.get(width), f"{where}: {width}")
    if min(size) < 1:
        raise UserError(f"{where}: the image is {size[0]}x{size[1]} pixels.")
    return size


def colour_of(text: object) -> Colour | None:
    """Red, green and blue of `#rrggbb`, of three numbers or of QuPath's single number; None for anything else.

    >>> colour_of("#ff8000"), colour_of([255, 128, 0]), colour_of(-32768), colour_of("red")
    ((255, 128, 0), (255, 128, 0), (255, 128, 0), None)
    """
    if isinstance(text, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return tuple(bytes.fromhex(text[1:]))
    if isinstance(text, Sequence) and len(text) >= 3 and all(type(part) is int and 0 <= part <= 255 for part in text):
        return tuple(text[:3])
    if type(text) is int:
        return (text >> 16 & 255, text >> 8 & 255, text & 255)
    return None


def short(value: object) -> str:
    """A value for a message."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
