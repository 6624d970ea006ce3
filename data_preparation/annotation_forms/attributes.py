"""Which attribute of an object is its class, in forms that leave it to the user: VGG VIA, GeoJSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from data_preparation.annotation_forms.values import short
from utils.base.errors import UserError
from utils.base.registry import list_choices

USUAL = ("class", "label", "classification", "class_name", "category", "type", "name")
ONLY_CLASS = "object"  # where nothing tells objects apart


def choose_attribute(
    attributes: Iterable[Mapping[str, Any]], wanted: str | None, where: str, all_are_classes: bool = False
) -> str | None:
    """The attribute that holds the class; None if there is none.

    Args:
        attributes: of the objects.
        wanted: --class-attribute; None: the one with a usual name.
        where: names the source in messages.
        all_are_classes: whether an attribute with another name is the class, too, if it is the only one. In VIA users
            define them; in GeoJSON they are any facts, such as an area.

    Raises:
        UserError: the one wanted is missing, or which one it is remains open.
    """
    found = list(dict.fromkeys(key for entry in attributes for key in entry))
    if wanted is not None:
        if wanted not in found:
            raise UserError(f"{where}: no object has the attribute {wanted}. {list_choices(wanted, found)}")
        return wanted
    usual = [key for key in found if key.lower() in USUAL] or (found if all_are_classes else [])
    if len(usual) <= 1:
        return usual[0] if usual else None
    raise UserError(
        f"{where}: objects have the attributes {short(', '.join(found))}. Name the one that holds the class: "
        f"--class-attribute {usual[0]}."
    )


def class_of(entry: Mapping[str, Any], attribute: str | None) -> str:
    """The class of an object: a text or a number, or the one option that is ticked; "" if it has none."""
    if attribute is None:
        return ONLY_CLASS
    value = entry.get(attribute)
    if isinstance(value, dict):
        ticked = [str(key) for key, is_ticked in value.items() if is_ticked]
        return ticked[0] if len(ticked) == 1 else ""
    return "" if value is None else str(value).strip()
