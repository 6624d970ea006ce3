"""The settings of one training run. Imports no Keras, so that a bad setting is known at once."""

import copy
import secrets

from omegaconf import DictConfig

from data_generators.files.class_labels import classifier_class_names
from utils.base.errors import UserError
from utils.config.folds import ALL, count_folds
from utils.config.overrides import command_line, override_key
from utils.devices.strategy import join_workers


def training_settings(cfg: DictConfig) -> DictConfig:
    """A copy of the config with what only the run can know: an id, its workers, the class names of a classifier.

    Raises:
        UserError: folds without the number of one, or settings that do not work with several workers.
    """
    typed = {override_key(override) for override in cfg.OVERRIDES}
    unused = cfg.DATASET.FOLD is None and cfg.DATASET.FOLDS is not None and "DATASET.TRAIN.IMAGES_PATH" not in typed
    if cfg.DATASET.FOLD == ALL or unused:
        folds = f"DATASET.FOLD={','.join(map(str, range(count_folds(cfg))))}"
        others = (override for override in cfg.OVERRIDES if override_key(override) != "DATASET.FOLD")
        train = command_line("train.py", ["-m", *others, folds])
        wrong = "DATASET.FOLDS needs DATASET.FOLD" if unused else "DATASET.FOLD=all is for evaluation"
        raise UserError(f"{wrong}. Train the folds with: {train}")
    cfg = join_workers(copy.deepcopy(cfg))
    cfg.RUN = secrets.token_hex(8)  # a resumed run takes the id of its state
    if cfg.MODEL.TYPE == "classifier":
        cfg.OUTPUT.CLASS_NAMES = classifier_class_names(cfg)  # saved beside the weights
    return cfg
