"""Check every value of the config against the schema, one clear message for each kind of mistake."""

import difflib
import math
from collections.abc import Iterable
from types import NoneType

from omegaconf import DictConfig, ListConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.keys import Group, Key, OptionalKeys
from utils.base.registry import list_choices
from utils.config.defaults import CONFIGS
from utils.config.schema import OPTIONAL_KEYS, SCHEMA

GROUPS = sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir())  # loss=NAME

# Names of other tools that are not alike.
ALIASES = {
    "ARCH": "MODEL.TYPE",
    "ENCODER": "MODEL.BACKBONE.TYPE",
    "GPUS": "USE_MULTI_GPUS.GPU_IDS",
    "LR": "HYPER_PARAMETERS.LEARNING_RATE",
    "MODEL": "MODEL.TYPE",
    "WEIGHTS": "MODEL.WEIGHTS_FILE_NAME",
    "WORKERS": "DATALOADER_WORKERS",
}


def check_values(node: DictConfig, group: Group = SCHEMA, prefix: str = "") -> None:
    """Check that a group has its keys and no others, and all values in it and below.

    Raises:
        UserError: names the key, its value, the rule and what would be right.
    """
    for name in group.keys:
        if name not in node and not isinstance(group, OptionalKeys):
            raise UserError(f"{prefix}{name} is missing: it cannot be removed, set it to null if it may be empty.")
    for name in map(str, node):
        key = f"{prefix}{name}"
        declared = group.keys.get(name, OPTIONAL_KEYS.keys.get(key))
        if isinstance(declared, Key):
            check_value(key, node[name], declared)
        elif declared is None:
            raise UserError(unknown_key(key))
        elif isinstance(node[name], DictConfig):
            check_values(node[name], declared, f"{key}.")
        else:
            raise UserError(f"{key}={node[name]} must be a group of keys: {', '.join(declared.keys)}.")


def check_value(key: str, value: object, rule: Key) -> None:
    """Check one value: its type, then its choices or its range.

    >>> check_value("SEED", -1, Key(int, low=0))
    Traceback (most recent call last):
    ...
    utils.base.errors.UserError: SEED=-1 is too small: at least 0.
    """
    if isinstance(value, (ListConfig, DictConfig)):
        value = OmegaConf.to_container(value)
    check_type(key, value, rule)
    choices = rule.allowed()
    if choices is not None:
        check_choices(key, value, choices)
        return
    entries = value if isinstance(value, list) else [value]
    if isinstance(value, list):
        check_list(key, value, rule)
    if value == "":
        raise UserError(f"{key} must not be empty.")
    for number in filter(is_number, entries):
        check_range(key, value, number, rule)
    if rule.ascending and entries != sorted(entries):
        raise UserError(f"{key}={value} must begin with the smaller number.")


def check_type(key: str, value: object, rule: Key) -> None:
    types = rule.types + ((int,) if float in rule.types else ())
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        as_list = f" For a list of one, type {key}=[{value}]." if list in types else ""
        raise UserError(
            f"{key}={value} has the wrong type: expected {type_names(types)}, got {type(value).__name__}.{as_list}"
        )


def check_choices(key: str, value: object, choices: tuple) -> None:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if entry is not None and entry not in choices:
            raise UserError(f"{key}={entry} is not known. {list_choices(entry, choices)}")
    if not entries or len(set(entries)) < len(entries):
        raise UserError(f"{key}={value} must name at least one of {', '.join(map(str, choices))}, each once.")


def check_list(key: str, value: list, rule: Key) -> None:
    """Check the number of entries and their types."""
    if rule.length is not None and len(value) != rule.length:
        raise UserError(f"{key}={value} needs {rule.length} entries, got {len(value)}.")
    wrong = [entry for entry in value if type(entry) not in rule.entry_types]
    if wrong:
        names = type_names(rule.entry_types)
        raise UserError(f"{key}={value} has the wrong type: every entry must be {names}, not {wrong[0]}.")


def check_range(key: str, value: object, number: float, rule: Key) -> None:
    if not math.isfinite(number):
        raise UserError(f"{key}={value} must be a finite number.")
    if rule.low is not None and number < rule.low:
        raise UserError(f"{key}={value} is too small: at least {rule.low:g}.")
    if rule.high is not None and number > rule.high:
        raise UserError(f"{key}={value} is too large: at most {rule.high:g}.")


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def type_names(types: Iterable[type]) -> str:
    return " or ".join("null" if kind is NoneType else kind.__name__ for kind in dict.fromkeys(types))


def unknown_key(key: str) -> str:
    """Message for a key that the config does not have: the choices at the deepest level that exists.

    >>> unknown_key("epochs")
    'The key epochs does not exist. Did you mean HYPER_PARAMETERS.EPOCHS? All keys: --help'
    """
    if key in OPTIONAL_KEYS.keys or key == "experiment":
        return f"{key} has no default: give it with a plus, +{key}=..."
    node: Key | Group = SCHEMA
    path: list[str] = []
    for part in key.split("."):
        if isinstance(node, Key):
            return f"{'.'.join(path)} is a single value; {key} does not exist."
        if part not in node.keys:
            break
        node = node.keys[part]
        path.append(part)
    else:
        return f"{key} is not in this config: add it with a plus, +{key}=..."
    if not path and (similar := similar_keys(key)):
        return f"The key {key} does not exist. Did you mean {' or '.join(similar)}? All keys: --help"
    prefix = "".join(f"{name}." for name in path)
    choices = [prefix + name for name in node.keys] + ([] if path else GROUPS)
    return f"The key {key} does not exist. {list_choices(key, choices)}"


def similar_keys(key: str) -> list[str]:
    """The keys and groups whose name, or the last part of it, is most like that of `key`, in small letters or large.

    >>> similar_keys("batchsize"), similar_keys("los")
    (['HYPER_PARAMETERS.BATCH_SIZE'], ['LOSS', 'loss'])
    """
    if key.upper() in ALIASES:
        return [ALIASES[key.upper()]]
    names = [*dict.fromkeys((*SCHEMA.keys, *GROUPS, *(name for name, _ in SCHEMA.leaves())))]
    last = [last_part(name) for name in names]
    close = difflib.get_close_matches(last_part(key), last, n=1, cutoff=0.7)
    return [name for name, part in zip(names, last, strict=True) if part in close]


def last_part(key: str) -> str:
    return key.rpartition(".")[2].upper()
