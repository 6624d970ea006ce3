"""Compose the configuration with overrides and check it. Imports neither TensorFlow nor Keras."""

from collections.abc import Iterable, Sequence

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from utils.base.errors import UserError
from utils.base.keras_settings import default_backend
from utils.config.checks import check_config
from utils.config.defaults import CONFIGS
from utils.config.explain import explain
from utils.config.folds import apply_fold
from utils.config.overrides import split_override
from utils.config.schema import SCHEMA
from utils.config.values import is_number


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
    """Record the overrides, check every value, fill in backend and fold. Changes and returns `cfg`."""
    OmegaConf.set_struct(cfg, False)
    cfg.OVERRIDES = list(overrides)
    read_numbers_as_text(cfg, overrides)
    read_none_as_null(cfg)
    if cfg.BACKEND is None:
        cfg.BACKEND = default_backend()
    check_config(cfg)
    apply_fold(cfg)
    return cfg


def read_numbers_as_text(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Let a folder be called 2018: a number typed for a key that takes text, but no numbers, is the text typed."""
    keys = dict(SCHEMA.leaves())
    for override in overrides:
        name, typed = split_override(override)
        key = keys.get(name)
        if key is None or {int, float} & {*key.types, *key.entry_types}:
            continue
        value = OmegaConf.select(cfg, name)
        if is_number(value) and str in key.types:
            OmegaConf.update(cfg, name, typed.strip())
        elif isinstance(value, ListConfig) and str in key.entry_types:
            # A number that is written otherwise than typed (1_000, 1e3) stays one, and is refused.
            entries = [str(one) if is_number(one) and str(one) in typed else one for one in value]
            OmegaConf.update(cfg, name, entries)


def read_none_as_null(cfg: DictConfig) -> None:
    """Let None, none and an empty text in the paths of a split mean null, as on the command line of other tools."""
    dataset = cfg.get("DATASET")
    groups = dataset.values() if isinstance(dataset, DictConfig) else ()
    for split in (group for group in groups if isinstance(group, DictConfig)):
        for key in ("IMAGES_PATH", "MASK_PATH", "OBJECTS_PATH"):
            if key in split and str(split[key]).lower() in ("none", "null", ""):
                split[key] = None
