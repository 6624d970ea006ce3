"""Rules between keys of PREDICT."""

from omegaconf import DictConfig

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
