"""The messages for what Hydra, OmegaConf and YAML refuse: one place, for the command line and for `load_config`."""

import re

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError, OmegaConfBaseException
from yaml import MarkedYAMLError

from utils.base.registry import list_choices
from utils.config.overrides import quoted, split_override
from utils.config.schema import SCHEMA
from utils.config.values import unknown_key


def explain(error: Exception) -> str:
    """The message for an error of Hydra, OmegaConf or YAML; for what does not exist it lists what does."""
    if isinstance(error, MarkedYAMLError):
        place = error.problem_mark
        return f"{place.name.strip()}, line {place.line + 1}: is not YAML: {error.problem}." if place else str(error)
    if isinstance(error, OverrideParseException):
        return unreadable_override(error.override)
    text = str(error)
    ambiguous = re.search(r"Ambiguous value for argument '(.*)'\n1\. ", text, re.DOTALL)
    if ambiguous:
        return several_values(ambiguous.group(1))
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}={name} is not known. {list_choices(name, error.options)}"
    unknown = re.search(r"Could not override '([^']*)'", text)
    if unknown:
        cause = error.__cause__  # names the key where the override is a whole group
        full_key = cause.full_key if isinstance(cause, OmegaConfBaseException) else None
        return unknown_key(full_key or unknown.group(1) or "''")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("See http")]
    if isinstance(error, (InterpolationKeyError, InterpolationResolutionError)):
        return (
            f"{error.full_key}: {lines[0]}. ${{...}} stands for the value of another key; "
            "in a name, type a backslash before it: '\\${...}'."
        )
    return "\n".join(lines)


def unreadable_override(override: str) -> str:
    """The message for an override that Hydra cannot read."""
    key, value = split_override(override)
    if not re.fullmatch(r"[^\s=]+", key) or "=" not in override:
        chosen = [f"{name}={override}" for name, rule in SCHEMA.leaves() if override in (rule.allowed() or ())]
        if chosen:
            return f"{override}: type {' or '.join(chosen)}"
        return (
            f"{override}: this is not KEY=VALUE. Where it belongs to a value with spaces, put quotes around the whole: "
            "'KEY=my data'."
        )
    start = f"{override}: Hydra, which reads the command line, takes some of these characters only in quotes."
    if value.lstrip().startswith(("[", "{")):
        return f"{start} If it is a list, quote its entries: '{key}=[\"a=b\",c]'; if it is one name: {quoted(override)}"
    return f"{start} Type {quoted(override)}"


def several_values(override: str) -> str:
    """The message for a value with commas outside a sweep."""
    key, value = split_override(override)
    return (
        f"{override}: the value has commas. If it is one name, quote it: {quoted(override)}; if it is a list: "
        f"'{key}=[{value}]'; to run the command for each of the values, add --multirun."
    )
