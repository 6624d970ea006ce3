"""Rules between keys of PREDICT."""

from omegaconf import DictConfig

from utils.base.classes import is_multi_label
from utils.base.errors import UserError


def uncertainty_is_of_masks(cfg: DictConfig) -> None:
    value = cfg.PREDICT.UNCERTAINTY
    if value is not None and cfg.MODEL.TYPE == "classifier":
        raise UserError(f"PREDICT.UNCERTAINTY={value} is for masks; labels.csv has the probabilities of a classifier.")
    if value is not None and cfg.EVALUATION.PREDICTIONS is not None:
        raise UserError(f"PREDICT.UNCERTAINTY={value} needs a network: leave EVALUATION.PREDICTIONS out.")


def uncertainty_is_asked_for(cfg: DictConfig) -> None:
    for key in ("MC_SAMPLES", "SELECT"):
        if cfg.PREDICT[key] is not None and cfg.PREDICT.UNCERTAINTY is None:
            raise UserError(f"PREDICT.{key}={cfg.PREDICT[key]} needs PREDICT.UNCERTAINTY, such as entropy.")


def files_of_one_class_are_no_masks_of_all(cfg: DictConfig) -> None:
    if cfg.PREDICT.MASK_VALUES != "binary":
        return
    if cfg.PREDICT.MASK_PALETTE:
        raise UserError(
            "PREDICT.MASK_PALETTE=True colours classes, and with PREDICT.MASK_VALUES=binary a mask holds one. Leave "
            "one of them out."
        )
    if cfg.EVALUATION.OBJECTS:
        raise UserError(
            "EVALUATION.OBJECTS=True reads label images, PREDICT.MASK_VALUES=binary masks of 0 and 1. Leave one out."
        )


def objects_have_one_class(cfg: DictConfig) -> None:
    settings = cfg.PREDICT.INSTANCES
    asked = {f"PREDICT.INSTANCES.METHOD={settings.METHOD}": settings.METHOD is not None} | {
        f"DATASET.{split}.OBJECTS_PATH={cfg.DATASET[split].OBJECTS_PATH}": cfg.DATASET[split].OBJECTS_PATH is not None
        for split in ("TRAIN", "VAL", "TEST")
    }
    for setting, is_set in asked.items():
        if is_set and is_multi_label(cfg):
            raise UserError(
                f"{setting}: a pixel of a label image belongs to one object, and OUTPUT.MULTI_LABEL=True lets classes "
                "overlap. Leave one of them out."
            )
    if settings.BORDER is not None and not settings.BORDER < cfg.OUTPUT.CLASSES > 2:
        raise UserError(
            f"PREDICT.INSTANCES.BORDER={settings.BORDER} is no class beside one of objects: "
            f"OUTPUT.CLASSES={cfg.OUTPUT.CLASSES}."
        )


def objects_are_separated_as_asked(cfg: DictConfig) -> None:
    settings = cfg.PREDICT.INSTANCES
    for key in ("DEPTH", "BORDER"):
        if settings[key] is not None and settings.METHOD is None:
            raise UserError(
                f"PREDICT.INSTANCES.{key}={settings[key]} needs PREDICT.INSTANCES.METHOD, such as distance."
            )
    if settings.METHOD == "pieces" and settings.DEPTH is not None:
        raise UserError(f"PREDICT.INSTANCES.DEPTH={settings.DEPTH} is for METHOD=distance and METHOD=probability.")
    if settings.METHOD == "probability" and settings.DEPTH is not None and settings.DEPTH >= 1:
        raise UserError(f"PREDICT.INSTANCES.DEPTH={settings.DEPTH} is a probability with METHOD=probability: below 1.")
    if settings.METHOD == "probability" and cfg.EVALUATION.PREDICTIONS is not None:
        raise UserError(
            "PREDICT.INSTANCES.METHOD=probability needs a network, and EVALUATION.PREDICTIONS are masks: use distance."
        )
