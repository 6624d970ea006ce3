"""Tables of choices map a name to "package.module:attribute", so that listing the choices imports nothing heavy."""

import difflib
import importlib

from utils.base.errors import UserError


def load_object(location):
    """Return the object that `"package.module:attribute"` names."""
    module, attribute = location.split(":")
    return getattr(importlib.import_module(module), attribute)


def look_up(table, name, key):
    """Return `table[name]`, or raise a UserError that names the config key and lists the choices."""
    if name not in table:
        raise UserError(f"{key}={name} is not known. {list_choices(name, table)}")
    return table[name]


def list_choices(name, choices):
    """Say which choices there are, the one that looks most like `name` first."""
    choices = [str(choice) for choice in choices]
    close = difflib.get_close_matches(str(name), choices, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return f"{hint}Choices: {', '.join(choices)}"
