"""Tables of choices map a name to "package.module:attribute", so that listing the choices imports nothing heavy."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from utils.base.errors import UserError

Row = TypeVar("Row")


def load_object(location: str) -> Any:
    """Return the object that `"package.module:attribute"` names.

    >>> load_object("math:sqrt")(9)
    3.0
    """
    module, attribute = location.split(":")
    return getattr(importlib.import_module(module), attribute)


def look_up(table: Mapping[str, Row], name: str, key: str) -> Row:
    """Return `table[name]`, or raise a UserError that names the config key and lists the choices."""
    if name not in table:
        raise UserError(f"{key}={name} is not known. {list_choices(name, table)}")
    return table[name]


def list_choices(name: object, choices: Iterable[object]) -> str:
    """List the choices, after the one most similar to `name`.

    >>> list_choices("unt", ["unet", "unet3plus"])
    'Did you mean unet? Choices: unet, unet3plus'
    >>> list_choices("x", [None, "random"])
    'Choices: null, random'
    """
    names = ["null" if choice is None else str(choice) for choice in choices]
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return f"{hint}Choices: {', '.join(names)}"
