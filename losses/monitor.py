"""What training watches: the score that picks the best weights and says when no epoch is better any more.

Importing this module imports no Keras.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from omegaconf import DictConfig

from utils.base.classes import number_of_classes
from utils.base.errors import UserError
from utils.config.class_names import has_background

# Score of the log -> whether higher is better. `..._class<n>` is that of one class.
HIGHER_IS_BETTER = {
    "loss": False,
    "dice": True,
    "iou": True,
    "iou_all_classes": True,
    "dice_coef": True,
    "presence_accuracy": True,
    "accuracy": True,
    "roc_auc": True,
}
OF_EACH_CLASS = ("dice", "iou")
OF_CLASSIFIERS = ("loss", "accuracy", "roc_auc")

Rank = tuple[float, float]


class Monitor(NamedTuple):
    """A score of the validation data.

    Attributes:
        name: of the score, without `val_`.
        higher_is_better: false for the loss.
    """

    name: str
    higher_is_better: bool

    @property
    def log(self) -> str:
        """Its name in the logs of an epoch."""
        return f"val_{self.name}"

    def rank(self, logs: Mapping[str, float]) -> Rank:
        """What decides which epoch is better, as a tuple to compare: the score, and at equal scores the lower loss.

        An undefined score, as Dice is where neither truth nor prediction has foreground, is below all others.

        Args:
            logs: `{log name: value}` of an epoch; what is missing counts as undefined.
        """
        score, loss = logs.get(self.log, math.nan), logs.get("val_loss", math.nan)
        score = score if self.higher_is_better else -score
        return as_worst(float(score)), as_worst(-float(loss))


def as_worst(value: float) -> float:
    """The value, or -inf in place of NaN, which compares with nothing."""
    return -math.inf if math.isnan(value) else value


def build_monitor(cfg: DictConfig, callback: str = "MODEL_CHECKPOINT") -> Monitor:
    """The monitor that CALLBACKS.<callback>.MONITOR names, with or without `val_`.

    Args:
        callback: MODEL_CHECKPOINT, where null means `default_monitor`, or EARLY_STOPPING, where it means that of
            MODEL_CHECKPOINT.

    Raises:
        UserError: training has no such score; lists those it has.

    >>> from utils.config import load_config
    >>> build_monitor(load_config(["CALLBACKS.MODEL_CHECKPOINT.MONITOR=val_loss"]))
    Monitor(name='loss', higher_is_better=False)
    """
    wanted = cfg.CALLBACKS[callback].MONITOR
    if wanted is None:
        return default_monitor(cfg) if callback == "MODEL_CHECKPOINT" else build_monitor(cfg)
    name, names = wanted.removeprefix("val_"), list_scores(cfg)
    if name not in names:
        raise UserError(
            f"CALLBACKS.{callback}.MONITOR={wanted}: this training has no such score, but {', '.join(names)}."
        )
    return Monitor(name, HIGHER_IS_BETTER[re.sub(r"_class\d+$", "", name)])


def default_monitor(cfg: DictConfig) -> Monitor:
    """A score that no constant answer wins.

    Of masks the mean Dice of the foreground classes over the pixels of the whole set, where an empty prediction is 0;
    the mean IoU of all classes if class 0 is none (OUTPUT.BACKGROUND). Of a classifier the area
    under the ROC curve: its accuracy is high for the answer that is always the most frequent class.
    """
    if cfg.MODEL.TYPE == "classifier":
        return Monitor("roc_auc", True)
    return Monitor("dice" if has_background(cfg) else "iou_all_classes", True)


def list_scores(cfg: DictConfig) -> list[str]:
    """The scores that the log of a training has for its validation data, without `val_`."""
    if cfg.MODEL.TYPE == "classifier":
        return list(OF_CLASSIFIERS)
    classes = cfg.OUTPUT.CLASSES
    first = number_of_classes(cfg) - classes  # sigmoids have no channel of the background, class 0
    left_out = {"accuracy", "roc_auc"} | ({"iou_all_classes"} if first else set())
    names = [name for name in HIGHER_IS_BETTER if name not in left_out]
    return names + [f"{name}_class{first + index}" for name in OF_EACH_CLASS for index in range(classes)]
