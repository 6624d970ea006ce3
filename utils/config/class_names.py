"""Names of the classes of masks."""

from omegaconf import DictConfig

from utils.base.classes import number_of_classes


def mask_class_names(cfg: DictConfig) -> list[str]:
    """The classes of a mask in order: OUTPUT.CLASS_NAMES, else background, class1, class2, ...

    >>> from utils.config import load_config
    >>> mask_class_names(load_config(["OUTPUT.CLASSES=3"]))
    ['background', 'class1', 'class2']
    """
    if cfg.OUTPUT.CLASS_NAMES is not None:
        return list(cfg.OUTPUT.CLASS_NAMES)
    return ["background", *(f"class{index}" for index in range(1, number_of_classes(cfg)))]
