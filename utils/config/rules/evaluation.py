"""Rules between keys of EVALUATION."""

from itertools import pairwise

from omegaconf import DictConfig

from utils.base.classes import number_of_classes
from utils.base.errors import UserError
from utils.config.folds import ALL
from utils.config.overrides import override_key


def predictions_are_masks_of_one_split(cfg: DictConfig) -> None:
    value = cfg.EVALUATION.PREDICTIONS
    if value is None:
        return
    for setting, is_set in {
        "MODEL.TYPE=classifier": cfg.MODEL.TYPE == "classifier",
        f"EVALUATION.SPLITS={list(cfg.EVALUATION.SPLITS)}": len(cfg.EVALUATION.SPLITS) != 1,
        "DATASET.FOLD=all": cfg.DATASET.FOLD == ALL,
    }.items():
        if is_set:
            raise UserError(f"EVALUATION.PREDICTIONS={value} scores masks of one split: leave {setting} out.")


def groups_and_probabilities_are_of_masks(cfg: DictConfig) -> None:
    settings = cfg.EVALUATION
    if cfg.MODEL.TYPE == "classifier":
        for key in ("GROUPS", "KEEP_PROBABILITIES"):
            if settings[key]:
                raise UserError(f"EVALUATION.{key}={settings[key]} is for masks, and MODEL.TYPE=classifier has none.")
    if settings.PREDICTIONS is not None and settings.KEEP_PROBABILITIES:
        raise UserError(
            f"EVALUATION.KEEP_PROBABILITIES={settings.KEEP_PROBABILITIES} keeps those of a network: leave "
            "EVALUATION.PREDICTIONS out, whose masks have none."
        )


def raters_need_predictions(cfg: DictConfig) -> None:
    settings = cfg.EVALUATION
    if settings.RATERS is not None and settings.PREDICTIONS is None:
        raise UserError(
            f"EVALUATION.RATERS={list(settings.RATERS)} is for masks of a folder: set "
            "EVALUATION.PREDICTIONS (predict.py writes such a folder)."
        )
    if settings.TRUTH != "mask" and not settings.RATERS:
        raise UserError(f"EVALUATION.TRUTH={settings.TRUTH} needs the masks of other raters: set EVALUATION.RATERS.")


def label_images_are_predictions_of_one_class(cfg: DictConfig) -> None:
    if not cfg.EVALUATION.OBJECTS:
        return
    if cfg.EVALUATION.PREDICTIONS is None:
        raise UserError("EVALUATION.OBJECTS=True says that EVALUATION.PREDICTIONS are label images: name their folder.")
    if number_of_classes(cfg) != 2:
        raise UserError(
            f"EVALUATION.OBJECTS=True is for one class, and OUTPUT.CLASSES={cfg.OUTPUT.CLASSES}: label images do "
            "not say which class an object has. Score masks, with PREDICT.INSTANCES.METHOD=pieces."
        )
    method = cfg.PREDICT.INSTANCES.METHOD
    if method is not None:
        raise UserError(
            f"EVALUATION.OBJECTS=True has the objects already: leave PREDICT.INSTANCES.METHOD={method} out."
        )


def size_bins_rise(cfg: DictConfig) -> None:
    edges = cfg.EVALUATION.SIZE_BINS
    if edges is None:
        return
    if not edges or edges[0] <= 0 or any(low >= high for low, high in pairwise(edges)):
        raise UserError(
            f"EVALUATION.SIZE_BINS={list(edges)} must be sizes above 0 that rise, such as [100,1000], or null."
        )
    if not {"objects", "lesions"} & set(cfg.EVALUATION.METRICS or ()):
        raise UserError(
            f"EVALUATION.SIZE_BINS={list(edges)} divides objects or lesions by size: name one of them in "
            "EVALUATION.METRICS, such as [dice_coef,confusion,lesions]."
        )


def surface_dice_has_a_tolerance(cfg: DictConfig) -> None:
    if cfg.EVALUATION.SURFACE_TOLERANCE_MM == []:
        raise UserError("EVALUATION.SURFACE_TOLERANCE_MM=[] has no tolerance: give one or several, such as 2 or [2,1].")
    # Only what was typed: experiments and configs beside weights may hold a tolerance for later.
    typed = {override_key(override): override for override in cfg.OVERRIDES}
    tolerance = typed.get("EVALUATION.SURFACE_TOLERANCE_MM")
    if tolerance is not None and not cfg.EVALUATION.SURFACE:
        raise UserError(f"{tolerance} is of surface distances, which are off: type EVALUATION.SURFACE=True, too.")
