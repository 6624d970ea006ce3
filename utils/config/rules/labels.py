"""Rules about what masks hold: DATASET.LABEL_SETS, whose values stand for several classes, and CLASS_MASKS."""

from omegaconf import DictConfig

from utils.base.classes import is_multi_label
from utils.base.errors import UserError
from utils.config.class_names import mask_class_names
from utils.config.label_sets import label_sets_of
from utils.config.rules.channels import names_find_files


def values_of_masks_have_one_meaning(cfg: DictConfig) -> None:
    """One key says what masks hold; LABEL_SETS and CLASS_MASKS make classes that overlap."""
    key = next((key for key in ("LABEL_SETS", "CLASS_MASKS") if cfg.DATASET[key] is not None), None)
    if key is None:
        return
    if cfg.OUTPUT.CLASSES > 1 and not is_multi_label(cfg):
        raise UserError(
            f"DATASET.{key} makes classes that overlap: set OUTPUT.MULTI_LABEL=True, with OUTPUT.CLASSES as many as "
            "there are classes without the background. One value for each class is DATASET.LABEL_VALUES."
        )
    for other, is_set in {
        "DATASET.LABEL_VALUES": cfg.DATASET.LABEL_VALUES is not None,
        "DATASET.CLASS_MASKS": key != "CLASS_MASKS" and cfg.DATASET.CLASS_MASKS is not None,
        "PREPROCESS_DATA.NORMALIZE_MASK.VALUE": cfg.PREPROCESS_DATA.NORMALIZE_MASK.VALUE,
    }.items():
        if is_set:
            raise UserError(f"DATASET.{key} says what every value of a mask means: leave {other} out.")


def class_masks_are_those_of_the_classes(cfg: DictConfig) -> None:
    files, classes = cfg.DATASET.CLASS_MASKS, cfg.OUTPUT.CLASSES
    if files is None:
        return
    if isinstance(files, str):
        if files != "stack":
            raise UserError(f"DATASET.CLASS_MASKS={files} must be stack, or a list of classes, such as [{files}].")
        return
    names_find_files("DATASET.CLASS_MASKS", files)
    if len(files) != classes:
        raise UserError(
            f"DATASET.CLASS_MASKS={files} has files of {len(files)} classes, OUTPUT.CLASSES={classes}. Set "
            f"OUTPUT.CLASSES={len(files)}, or name one for each class."
        )
    names = list(cfg.OUTPUT.CLASS_NAMES or ())[1:]
    moved = [name for index, name in enumerate(files) if name in names and names.index(name) != index]
    if moved:
        raise UserError(
            f"DATASET.CLASS_MASKS={files} and OUTPUT.CLASS_NAMES={list(cfg.OUTPUT.CLASS_NAMES)} have {moved[0]} in "
            "different places. Give both the same order, the background in CLASS_NAMES alone."
        )


def raters_ignore_whole_pixels(cfg: DictConfig) -> None:
    if cfg.EVALUATION.RATERS and cfg.DATASET.CLASS_MASKS is not None and cfg.DATASET.IGNORE_LABEL is not None:
        raise UserError(
            "EVALUATION.RATERS finds no agreement on classes that are ignored by themselves: leave "
            "DATASET.IGNORE_LABEL out, or compare with the masks of each rater in a run of its own."
        )


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
