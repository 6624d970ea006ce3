"""Where a score is a bad fit for the masks: one rule for training, evaluation and report.

The pitfalls are those of Maier-Hein et al. 2024, "Metrics reloaded", https://doi.org/10.1038/s41592-023-02151-z: small
structures, empty masks, and a background that outweighs them. Importing this module imports no Keras.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from omegaconf import DictConfig

from losses.monitor import build_monitor, default_monitor
from utils.config.class_names import has_background

TINY = 100  # pixels; of a smaller object a border that is one pixel off changes Dice by a fifth or more
MOSTLY = 0.5  # share of the masks
LITTLE = 0.05  # share of the pixels


def explain_tiny_classes(counts: np.ndarray, names: Sequence[str], first: int, unit: str) -> list[str]:
    """A sentence for each class whose median size, of the masks that have it, is below TINY.

    Args:
        counts: int `(masks, classes)`, pixels of each class, class 0 first.
        names: of the classes, from 0 on.
        first: the first class that is no background.
        unit: what a mask is of: "image" or "volume".

    >>> explain_tiny_classes(np.array([[90, 10], [100, 0]]), ["background", "spot"], 1, "image")[0][:42]
    'spot has 10 pixels in the median image: Di'
    """
    found = []
    for index in range(first, counts.shape[1]):
        present = counts[counts[:, index] > 0, index]
        if len(present) and np.median(present) < TINY:
            found.append(
                f"{names[index]} has {np.median(present):.0f} pixels in the median {unit}: Dice and IoU change with "
                "every pixel there. Look at lesions or boundary too (EVALUATION.METRICS)."
            )
    return found


def empty_share(counts: np.ndarray, first: int) -> float:
    """Share of the masks without foreground; 0 without masks, or where class 0 is no background (`first` is 0).

    >>> empty_share(np.array([[90, 10], [100, 0]]), 1)
    0.5
    """
    return float((counts[:, first:].sum(1) == 0).mean()) if first and len(counts) else 0.0


def explain_empty_masks(counts: np.ndarray, first: int, unit: str, empty_images: str) -> list[str]:
    """A sentence if most masks have no foreground and count as 1; arguments as in `explain_tiny_classes`.

    Args:
        empty_images: EVALUATION.EMPTY_IMAGES.
    """
    empty = empty_share(counts, first)
    if empty <= MOSTLY or empty_images != "one":
        return []
    return [
        f"{empty:.0%} of the {unit}s have no foreground, and count as 1 where none is predicted "
        "(EVALUATION.EMPTY_IMAGES=one): means over images say little. Look at dice, of all pixels."
    ]


def find_bad_monitors(cfg: DictConfig, counts: np.ndarray) -> list[str]:
    """Sentences: a score that picks the best epoch, or ends a run, is a bad fit for the validation masks.

    `iou_all_classes` is where the background outweighs the classes: foreground is below LITTLE of the pixels.
    `dice_coef` and `presence_accuracy` are where over MOSTLY of the masks are empty, which both count as right if
    nothing is predicted.

    Args:
        cfg: checked config.
        counts: of the validation masks, int `(masks, classes)`, see `losses.constant_answer.best_constant`.

    Raises:
        UserError: training has no such score.
    """
    first, found = int(has_background(cfg)), []
    if cfg.MODEL.TYPE == "classifier" or not first or not len(counts):
        return []
    empty, share = empty_share(counts, first), counts[:, first:].sum() / max(counts.sum(), 1)
    for callback in ("MODEL_CHECKPOINT", "EARLY_STOPPING"):
        name, better = build_monitor(cfg, callback).name, default_monitor(cfg).name
        reason = None
        if name == "iou_all_classes" and share < LITTLE:
            nothing = (1 - share) / np.count_nonzero(counts.sum(0))  # the background alone is found
            reason = (
                f"counts the background as a class, and foreground is {share:.1%} of the validation pixels: a network "
                f"that finds nothing has {nothing:.2f}"
            )
        elif name in ("dice_coef", "presence_accuracy") and empty > MOSTLY:
            reason = (
                f"counts masks without foreground as right if none is predicted, and {empty:.0%} of the validation "
                f"masks have none: a network that finds nothing has {empty:.2f} or more"
            )
        if reason and cfg.CALLBACKS[callback].MONITOR is not None:  # else it is that of MODEL_CHECKPOINT
            found.append(
                f"CALLBACKS.{callback}.MONITOR={cfg.CALLBACKS[callback].MONITOR} {reason}. Set it to {better}."
            )
    return found
