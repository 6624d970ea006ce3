"""Compare the config with what the preparation left beside the images, and take its values over."""

from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from data_generators.files.image_file import ImageFile
from data_generators.files.preparation import (
    CLASS_NAMES,
    LITS_COMMAND,
    MULTI_LABEL,
    PREPARED_BY,
    Preparation,
    find_preparations,
    single_preparation,
)
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.errors import UserError
from utils.config.defaults import default_config
from utils.config.overrides import assignment, override_key


def with_preparation(cfg: DictConfig, images: Iterable[ImageFile]) -> DictConfig:
    """A copy of the config with the values with which images were prepared; `cfg` itself if these are not known.

    Args:
        cfg: checked config.
        images: the training data.

    Raises:
        UserError: a file that cannot be read; images that were prepared in two ways; a value of the config that was
            chosen, here or in an experiment, and contradicts the data.
    """
    prepared = single_preparation(images)
    if prepared is None:
        return cfg
    filled = cfg.copy()
    check_overlap(cfg, prepared)
    for key in prepared.settings.keys() - {CLASS_NAMES, MULTI_LABEL}:
        check_chosen(cfg, key, prepared)
        OmegaConf.update(filled, key, prepared.settings[key])
    fill_in_class_names(filled, prepared)
    return filled


def check_chosen(cfg: DictConfig, key: str, prepared: Preparation) -> None:
    """Raise a UserError if the value of a key was chosen and is not that of the data."""
    value, stored = OmegaConf.select(cfg, key), prepared.settings[key]
    if value != stored and is_chosen(cfg, key):
        raise UserError(
            f"{assignment(key, value)} contradicts the data, which was prepared with {assignment(key, stored)} "
            f"({prepared.file}). Type {assignment(key, stored)}, or nothing; or prepare the data again."
        )


def check_overlap(cfg: DictConfig, prepared: Preparation) -> None:
    """Raise a UserError if the classes of the masks overlap and the config reads them otherwise, or vice versa."""
    overlap = prepared.settings.get(MULTI_LABEL, False)
    other = [key for key in ("LABEL_SETS", "CLASS_MASKS") if cfg.DATASET[key] is not None]
    if other:
        if overlap:
            raise UserError(
                f"DATASET.{other[0]} contradicts the data, whose values are bits of overlapping classes "
                f"({prepared.file}). Leave it out."
            )
        return
    if overlap != is_multi_label(cfg) and cfg.OUTPUT.CLASSES > 1:
        classes = "may overlap, as bits of the values" if overlap else "do not overlap: a value is a class"
        raise UserError(
            f"{assignment(MULTI_LABEL, not overlap)} contradicts the data, whose classes {classes} ({prepared.file}). "
            f"Type {assignment(MULTI_LABEL, overlap)}; or prepare the data again"
            + (", or give the values of masks sets of classes, DATASET.LABEL_SETS." if not overlap else ".")
        )


def is_chosen(cfg: DictConfig, key: str) -> bool:
    """Whether a value was typed, or differs from the default: an experiment or a program set it."""
    if key in map(override_key, cfg.OVERRIDES):
        return True
    return raw(cfg, key) != raw(default_config(), key)


def raw(cfg: DictConfig, key: str) -> Any:
    """The value of a key as it is written: a reference to another key stays one."""
    group, name = key.split(".")
    contents: Any = OmegaConf.to_container(cfg[group], resolve=False)
    return contents.get(name)


def fill_in_class_names(cfg: DictConfig, prepared: Preparation) -> None:
    """Take over the names of the classes, unless the config gives the values of masks another meaning. Changes `cfg`.

    Raises:
        UserError: the config has other names, or another number of classes.
    """
    names, dataset = prepared.settings.get(CLASS_NAMES), cfg.DATASET
    by_value = (dataset.LABEL_VALUES, dataset.LABEL_SETS, dataset.CLASS_MASKS)
    redefined = any(value is not None for value in by_value) or cfg.PREPROCESS_DATA.NORMALIZE_MASK.VALUE
    ignored = dataset.IGNORE_LABEL is not None and names is not None and len(names) > dataset.IGNORE_LABEL
    if names is None or redefined or ignored or cfg.MODEL.TYPE == "classifier":
        return
    typed = cfg.OUTPUT.CLASS_NAMES
    if prepared.settings.get(PREPARED_BY) == LITS_COMMAND and typed is not None and len(typed) == len(names):
        return
    if typed is not None and list(typed) != names:
        raise UserError(
            f"{assignment(CLASS_NAMES, list(typed))} contradicts the data, whose classes are {', '.join(names)} "
            f"({prepared.file}). Leave {CLASS_NAMES} out."
        )
    wanted = len(names) - is_multi_label(cfg)
    if number_of_classes(cfg) != len(names):
        raise UserError(
            f"OUTPUT.CLASSES={cfg.OUTPUT.CLASSES} contradicts the data, which has the {len(names)} classes "
            f"{', '.join(names)} ({prepared.file}). Type OUTPUT.CLASSES={wanted}."
        )
    cfg.OUTPUT.CLASS_NAMES = names


def preparation_problems(cfg: DictConfig, images: Iterable[ImageFile]) -> list[str]:
    """Where images were prepared otherwise than the training data, one message a folder; none where that is not known.

    Args:
        cfg: config of a training, or restored from beside weights.
        images: of any split.
    """
    if OmegaConf.select(cfg, PREPARED_BY) is None:
        return []
    try:
        found = find_preparations(images)
    except UserError as error:
        return [str(error)]
    return [problem for prepared in found for problem in differences(cfg, prepared)[:1]]


def check_preparation(cfg: DictConfig, images: Iterable[ImageFile]) -> None:
    """Raise a UserError if images to predict were prepared otherwise than the training data of a restored config."""
    problems = preparation_problems(cfg, images)
    if problems:
        raise UserError(problems[0])


def differences(cfg: DictConfig, prepared: Preparation) -> list[str]:
    """One message for each setting of the config that the preparation contradicts."""
    keys = sorted(prepared.settings.keys() - {CLASS_NAMES, MULTI_LABEL, PREPARED_BY})
    return [
        f"{prepared.file}: these images were prepared with {assignment(key, prepared.settings[key])}, the training "
        f"data with {assignment(key, OmegaConf.select(cfg, key))}. Prepare them as the training data was."
        for key in keys
        if prepared.settings[key] != OmegaConf.select(cfg, key)
    ]
