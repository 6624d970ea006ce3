"""The classes of masks: how many, and whether they overlap."""

from omegaconf import DictConfig


def is_multi_label(cfg: DictConfig) -> bool:
    """Whether a pixel may be of several classes, each with a sigmoid of its own (OUTPUT.MULTI_LABEL).

    A single class has nothing to overlap with: it is the same with and without the key.
    """
    return bool(cfg.OUTPUT.MULTI_LABEL) and cfg.OUTPUT.CLASSES > 1


def number_of_classes(cfg: DictConfig) -> int:
    """Classes of masks with the background, which sigmoids have no channel for: OUTPUT.CLASSES=1 are two.

    >>> from utils.config import load_config
    >>> number_of_classes(load_config(["OUTPUT.CLASSES=3"]))
    3
    >>> number_of_classes(load_config(["OUTPUT.CLASSES=3", "OUTPUT.MULTI_LABEL=True"]))
    4
    """
    return cfg.OUTPUT.CLASSES + (cfg.OUTPUT.CLASSES == 1 or is_multi_label(cfg))
