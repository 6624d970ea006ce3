"""Rules about DATASET.LABEL_SETS: each value of the masks stands for a set of classes."""

from omegaconf import DictConfig

from utils.base.classes import is_multi_label, number_of_classes
from utils.base.errors import UserError
from utils.config.class_names import mask_class_names
from utils.config.label_sets import label_sets_of


def label_sets_are_of_overlapping_classes(cfg: DictConfig) -> None:
    if cfg.DATASET.LABEL_SETS is None:
        return
    if number_of_classes(cfg) > 2 and not is_multi_label(cfg):
        raise UserError(
            "DATASET.LABEL_SETS makes classes that overlap: set OUTPUT.MULTI_LABEL=True, with OUTPUT.CLASSES as many "
            "as there are classes without the background. One value for each class is DATASET.LABEL_VALUES."
        )
    for key, is_set in {
        "DATASET.LABEL_VALUES": cfg.DATASET.LABEL_VALUES is not None,
        "PREPROCESS_DATA.NORMALIZE_MASK.VALUE": cfg.PREPROCESS_DATA.NORMALIZE_MASK.VALUE,
    }.items():
        if is_set:
            raise UserError(f"DATASET.LABEL_SETS says what every value of a mask means: leave {key} out.")


def label_sets_have_every_class(cfg: DictConfig) -> None:
    sets = label_sets_of(cfg)
    if sets is None:
        return
    ignored = cfg.DATASET.IGNORE_LABEL
    if ignored is not None and ignored in dict(sets):
        raise UserError(f"DATASET.IGNORE_LABEL={ignored} is one of DATASET.LABEL_SETS, or its background 0.")
    names = mask_class_names(cfg)
    for index in range(1, len(names)):
        if not any(bits >> index - 1 & 1 for _, bits in sets):
            raise UserError(
                f"DATASET.LABEL_SETS={cfg.DATASET.LABEL_SETS}: no value stands for the class {names[index]}, "
                "which cannot be learned. Name it, or lower OUTPUT.CLASSES."
            )
