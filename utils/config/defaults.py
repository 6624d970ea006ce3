"""The defaults in `configs/`, and the message for a key they do not have."""

import functools
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from utils.base.registry import list_choices
from utils.config.rules import OPTIONAL_KEYS

PROJECT = Path(__file__).resolve().parents[2]

CONFIGS = PROJECT / "configs"


def unknown_key(key):
    """Message for a key that config.yaml does not have: the choices at the deepest level that exists."""
    if key in OPTIONAL_KEYS or key == "experiment":
        return f"{key} has no default: give it with a plus, +{key}=..."
    node, path = default_config(), []
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            break
        node = node._get_node(part)
        path.append(part)
    if not isinstance(node, DictConfig):
        return f"{'.'.join(path)} is a single value; {key} does not exist."
    prefix = "".join(f"{name}." for name in path)
    choices = [prefix + name for name in node]
    if not path:
        choices += sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir())  # groups: loss=NAME
    return f"The key {key} does not exist. {list_choices(key, choices)}"


@functools.lru_cache(maxsize=1)
def default_config():
    """The composed defaults, with interpolations kept."""
    # A private Hydra instance would replace the running one; reading the files does not.
    cfg = OmegaConf.load(CONFIGS / "config.yaml")
    cfg.pop("hydra")
    for choice in cfg.pop("defaults"):
        if isinstance(choice, DictConfig):
            ((group, name),) = choice.items()
            if not group.startswith("override"):
                cfg[group.upper()] = OmegaConf.load(CONFIGS / group / f"{name}.yaml")
    return cfg
