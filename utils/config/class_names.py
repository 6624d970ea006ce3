"""Names of the classes of masks, and whether the first one is the background."""

import re

from omegaconf import DictConfig, ListConfig

from utils.base.classes import number_of_classes


def mask_class_names(cfg: DictConfig) -> list[str]:
    """The classes of a mask in order: OUTPUT.CLASS_NAMES, else background (class0 if it is none), class1, class2, ...

    Without OUTPUT.CLASS_NAMES, DATASET.CLASS_MASKS may name them.

    Class 0 that is no background (OUTPUT.BACKGROUND=False) is class0, as in the names of scores.

    >>> from utils.config import load_config
    >>> mask_class_names(load_config(["OUTPUT.CLASSES=3"]))
    ['background', 'class1', 'class2']
    >>> mask_class_names(load_config(["OUTPUT.CLASSES=2", "OUTPUT.BACKGROUND=False"]))
    ['class0', 'class1']
    """
    named = given_class_names(cfg)
    if named is not None:
        return named
    first = "class0" if not has_background(cfg) else "background"
    return [first, *(f"class{index}" for index in range(1, number_of_classes(cfg)))]


def given_class_names(cfg: DictConfig) -> list[str] | None:
    """The names of OUTPUT.CLASS_NAMES or DATASET.CLASS_MASKS; None if the config names no class.

    >>> from utils.config import load_config
    >>> given_class_names(load_config(["OUTPUT.CLASSES=3"])) is None
    True
    """
    if cfg.OUTPUT.CLASS_NAMES is not None:
        return list(cfg.OUTPUT.CLASS_NAMES)
    files = cfg.DATASET.CLASS_MASKS
    if (
        isinstance(files, ListConfig)
        and len(files) == number_of_classes(cfg) - 1
        and not any("*" in name for name in files)
    ):
        return ["background", *files]
    return None


def has_background(cfg: DictConfig) -> bool:
    """Whether class 0 is the background, which no mean counts: OUTPUT.BACKGROUND, else by its name in CLASS_NAMES.

    >>> from utils.config import load_config
    >>> has_background(load_config(["OUTPUT.CLASS_NAMES=[sky,road]"])), has_background(load_config())
    (False, True)
    """
    if number_of_classes(cfg) > cfg.OUTPUT.CLASSES:
        return True
    if cfg.OUTPUT.BACKGROUND is not None:
        return bool(cfg.OUTPUT.BACKGROUND)
    return cfg.OUTPUT.CLASS_NAMES is None or is_background(cfg.OUTPUT.CLASS_NAMES[0])


def is_background(name: str) -> bool:
    """Whether a class of this name is the background.

    >>> is_background("Background"), is_background("sky")
    (True, False)
    """
    letters = re.sub(r"[^a-z]", "", name.lower())
    return letters.startswith(("background", "bg")) or letters in ("none", "nothing", "empty")
