"""The defaults: `configs/config.yaml` with the choices of its groups."""

import functools
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

PROJECT = Path(__file__).resolve().parents[2]
CONFIGS = PROJECT / "configs"


@functools.lru_cache(maxsize=1)
def default_config() -> DictConfig:
    """The composed defaults, with interpolations kept."""
    # Composing them with Hydra would replace the instance that runs the command; reading the files does not.
    cfg = OmegaConf.load(CONFIGS / "config.yaml")
    assert isinstance(cfg, DictConfig)
    cfg.pop("hydra")
    for choice in cfg.pop("defaults"):
        if isinstance(choice, DictConfig):
            ((group, name),) = choice.items()
            if not str(group).startswith("override"):
                cfg[str(group).upper()] = OmegaConf.load(CONFIGS / str(group) / f"{name}.yaml")
    return cfg
