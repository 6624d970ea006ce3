"""YAML from elsewhere as plain data: limited in size and depth, without aliases, interpolations or missing values.

OmegaConf would resolve `${oc.env:NAME}` in a file that somebody sent, and put a secret of this machine into a report. A
few lines of aliases stand for billions of entries. Both show in the events of the parser, before anything is built.
"""

import io

import yaml
from omegaconf import DictConfig, OmegaConf

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 20
MAX_EVENTS = 100_000
MISSING = "???"  # what OmegaConf takes for a value to be filled in later

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_plain_yaml(text: str) -> DictConfig:
    """The groups and values of a YAML text.

    Raises:
        ValueError: not YAML; too large or too deep, an anchor, an alias, a tag, an interpolation, or a missing value;
            a key twice; not a group of keys.
    """
    try:
        check_plain(text)
        config = OmegaConf.load(io.StringIO(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ValueError(f"line {line}: is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {error}") from None
    if not isinstance(config, DictConfig):
        raise ValueError("it holds no keys")
    return config


def check_plain(text: str) -> None:
    """Raise a ValueError or a yaml.YAMLError if a text is not plain YAML, see `read_plain_yaml`."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, at most {MAX_CHARACTERS:,} are read")
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or number > MAX_EVENTS:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels, or has too many entries")
        if isinstance(event, yaml.NodeEvent):
            check_node(event)


def check_node(event: yaml.NodeEvent) -> None:
    """Raise a ValueError for a node that is not plain."""
    line = event.start_mark.line + 1 if event.start_mark else 0
    if event.anchor is not None:
        raise ValueError(f"line {line}: anchors and aliases (& and *) are not read")
    if getattr(event, "tag", None) is not None:
        raise ValueError(f"line {line}: tags (!) are not read")
    value = event.value if isinstance(event, yaml.ScalarEvent) else ""
    if "${" in value:
        raise ValueError(f"line {line}: ${{...}} is not resolved here; write the value")
    if value.strip() == MISSING:
        raise ValueError(f"line {line}: {MISSING} is not a value")
