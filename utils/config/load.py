"""Compose the configuration with overrides and check it. Imports neither TensorFlow nor Keras."""

import re
from collections.abc import Iterable, Sequence

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from utils.base.errors import UserError
from utils.config.checks import check_config
from utils.config.defaults import CONFIGS
from utils.config.folds import apply_fold
from utils.config.values import unknown_key


def load_config(overrides: Iterable[str] = ()) -> DictConfig:
    """Compose `configs/config.yaml` with overrides, as the command line does, and check it.

    Args:
        overrides: what you would type on the command line.

    Raises:
        UserError: unknown key, wrong type, or a value outside its range or table.

    >>> cfg = load_config(["MODEL.TYPE=unet", "OUTPUT.CLASSES=3"])
    >>> cfg.MODEL.TYPE, cfg.OUTPUT.CLASSES, cfg.SEED
    ('unet', 3, 5)
    """
    overrides = list(overrides)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            cfg = hydra.compose("config", overrides=overrides)
        except (HydraException, OmegaConfBaseException, MarkedYAMLError) as error:
            raise UserError(explain(error)) from None
    try:
        return finish_config(cfg, overrides)
    except OmegaConfBaseException as error:
        raise UserError(explain(error)) from None


def finish_config(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Record the overrides, read "none" as null, check every value, and fill in the fold. Changes and returns `cfg`."""
    OmegaConf.set_struct(cfg, False)
    record_overrides(cfg, overrides)
    read_none_as_null(cfg)
    check_config(cfg)
    apply_fold(cfg)
    return cfg


def record_overrides(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Keep what was typed, except an experiment: that is no key, and what it chose is in the config."""
    cfg.OVERRIDES = [override for override in overrides if not override.startswith("+experiment=")]


def read_none_as_null(cfg: DictConfig) -> None:
    """Let None, none and an empty text in the paths of a split mean null, as on the command line of other tools."""
    dataset = cfg.get("DATASET")
    groups = dataset.values() if isinstance(dataset, DictConfig) else ()
    for split in (group for group in groups if isinstance(group, DictConfig)):
        for key in ("IMAGES_PATH", "MASK_PATH"):
            if key in split and str(split[key]).lower() in ("none", "null", ""):
                split[key] = None


def explain(error: Exception) -> str:
    """The message for an error of Hydra, OmegaConf or YAML; for an unknown key it lists those that exist."""
    if isinstance(error, MarkedYAMLError):
        place = error.problem_mark
        return f"{place.name.strip()}, line {place.line + 1}: is not YAML: {error.problem}." if place else str(error)
    text = str(error)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        cause = error.__cause__  # names the key where the override is a whole group
        full_key = cause.full_key if isinstance(cause, OmegaConfBaseException) else None
        return unknown_key(full_key or unknown.group(1))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("See http")]
    return "\n".join(lines)
