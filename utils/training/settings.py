"""The settings of one training run. Imports no Keras, so that a bad setting is known at once."""

import copy
import secrets

from omegaconf import DictConfig

from data_generators.files.class_labels import classifier_class_names
from utils.base.errors import UserError
from utils.devices.strategy import join_workers


def training_settings(cfg: DictConfig) -> DictConfig:
    """A copy of the config with what only the run can know: an id, its workers, the class names of a classifier.

    Raises:
        UserError: DATASET.FOLD=all, or settings that do not work with several workers.
    """
    if cfg.DATASET.FOLD == "all":
        raise UserError(
            "DATASET.FOLD=all is for evaluation. Train the folds with: python train.py -m DATASET.FOLD=0,1,2"
        )
    cfg = join_workers(copy.deepcopy(cfg))
    cfg.RUN = secrets.token_hex(8)  # a resumed run takes the id of its state
    if cfg.MODEL.TYPE == "classifier":
        cfg.OUTPUT.CLASS_NAMES = classifier_class_names(cfg)  # saved beside the weights
    return cfg
