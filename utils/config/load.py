"""Compose the configuration with overrides and check it. Imports neither TensorFlow nor Keras."""

import re

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from utils.base.errors import UserError
from utils.config.checks import check_config
from utils.config.defaults import CONFIGS, unknown_key
from utils.config.folds import apply_fold


def load_config(overrides=()):
    """Compose `configs/config.yaml` with overrides, as the command line does, and check it.

    Args:
        overrides: list of str such as `["MODEL.TYPE=unet3plus", "OUTPUT.CLASSES=2"]`.

    Returns:
        The checked `DictConfig`.

    Raises:
        UserError: unknown key, wrong type, or a value outside its range or table.
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


def finish_config(cfg, overrides):
    """Note what was typed, read "none" as null, and check every value."""
    OmegaConf.set_struct(cfg, False)
    # An experiment is no setting but chooses some: what it chose is in the config.
    cfg.OVERRIDES = [override for override in overrides if not override.startswith("+experiment=")]
    splits = cfg.DATASET.values() if isinstance(cfg.get("DATASET"), DictConfig) else []
    for split in (split for split in splits if isinstance(split, DictConfig)):
        for key in ("IMAGES_PATH", "MASK_PATH"):
            if key in split and str(split[key]).lower() in ("none", "null", ""):
                split[key] = None
    check_config(cfg)
    apply_fold(cfg)
    return cfg


def explain(error):
    """Say a Hydra error in our words, with the keys that exist beside the mistyped one."""
    if isinstance(error, MarkedYAMLError):
        place = error.problem_mark
        return f"{place.name.strip()}, line {place.line + 1}: is not YAML: {error.problem}."
    text = str(error)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        return unknown_key(unknown.group(1))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("See http")]
    return "\n".join(lines)
