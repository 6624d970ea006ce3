"""Losses and metrics by name. A new loss term is one function and one line of LOSSES.

Importing this module imports no Keras: the rows are loaded when a loss or the metrics are built.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from utils.base.classes import is_multi_label
from utils.base.errors import UserError
from utils.base.keys import Key
from utils.base.registry import load_object
from utils.base.startup import import_keras

if TYPE_CHECKING:
    from keras import KerasTensor
    from keras.metrics import Metric

    from losses.whole_images import WholeImageMetric

MaskLoss = Callable[..., "KerasTensor"]  # (y_true, y_pred, boundary_weights=None, counted=None) -> scalar


class Term:
    """A row of LOSSES.

    Args:
        function: "module:NAME" of `(y_true, y_pred, valid, **options) -> scalar`; `losses.targets` prepares the first
            three.
        of_true_class: whether it takes the flag `multi_label`, because it compares the classes of a pixel.
        needs_boundary_weights: whether it also takes `boundary_weights`, the map of
            `data_generators.reading.boundary_weights` that comes with each batch.
        of_images: whether it is a mean over images, and takes `counted` of `losses.targets.mean_of_images`.
        smallest_side: height and width in pixels below which it is not defined.
        options: what LOSS_OPTIONS.<name> may hold, a Key for each.
    """

    def __init__(
        self,
        function: str,
        /,
        *,
        of_true_class: bool = False,
        needs_boundary_weights: bool = False,
        of_images: bool = False,
        smallest_side: int = 1,
        **options: Key,
    ) -> None:
        self.function = function
        self.of_true_class = of_true_class
        self.needs_boundary_weights = needs_boundary_weights
        self.of_images = of_images
        self.smallest_side = smallest_side
        self.options = options


SMOOTH = Key(float, low=1e-7)
AVERAGE = Key(choices=("image", "batch"))
FLAG = Key(bool)
CLASS_WEIGHTS = Key(list[float] | None, low=0, high=1e6)
SHARE = Key(float, low=0, high=1)
AREAS: dict[str, Any] = {
    "smooth": SMOOTH,
    "include_background": FLAG,
    "average": AVERAGE,
    "class_weights": CLASS_WEIGHTS,
}
NOT_NEGATIVE = Key(float, low=0)

LOSSES = {
    "focal": Term(
        "losses.cross_entropy:focal",
        of_true_class=True,
        alpha=NOT_NEGATIVE,
        gamma=NOT_NEGATIVE,
        class_weights=CLASS_WEIGHTS,
        background=FLAG,
    ),
    "bce": Term("losses.cross_entropy:binary_cross_entropy", of_true_class=True, class_weights=CLASS_WEIGHTS),
    "cce": Term("losses.cross_entropy:categorical_cross_entropy", of_true_class=True, class_weights=CLASS_WEIGHTS),
    "boundary_weighted_ce": Term(
        "losses.cross_entropy:boundary_weighted",
        of_true_class=True,
        needs_boundary_weights=True,
        w0=Key(float, low=0, high=1e6),
        sigma=Key(float, low=0.1, high=1000),
        class_weights=CLASS_WEIGHTS,
    ),
    # An 11-pixel window has to fit, at the coarsest of five levels in MS-SSIM: 11 * 2**4.
    "ssim": Term("losses.structural_similarity:ssim", smallest_side=11),
    "ms_ssim": Term("losses.structural_similarity:ms_ssim", of_images=True, smallest_side=176),
    "iou": Term(
        "losses.overlap:iou", of_images=True, smooth=SMOOTH, include_background=FLAG, class_weights=CLASS_WEIGHTS
    ),
    "dice": Term("losses.overlap:dice", of_images=True, **AREAS),
    "class_dice": Term("losses.overlap:class_dice", of_images=True, **AREAS),
    "tversky": Term("losses.overlap:tversky", of_images=True, alpha=SHARE, beta=SHARE, **AREAS),
    "focal_tversky": Term(
        "losses.overlap:focal_tversky",
        of_images=True,
        alpha=SHARE,
        beta=SHARE,
        gamma=Key(float, low=0.1, high=10),
        **AREAS,
    ),
    "lovasz": Term("losses.lovasz:lovasz", of_true_class=True, of_images=True, average=AVERAGE),
    "bce_dice": Term("losses.combined:bce_dice", smooth=SMOOTH),
    "bce_dice_half": Term("losses.combined:bce_dice_half", of_images=True, smooth=SMOOTH),
    "combo": Term("losses.combined:combo", of_images=True, smooth=SMOOTH),
}

# What training watches. A row is a function cfg -> keras.metrics.Metric.
METRICS = {
    "dice_coef": "losses.metrics.each_image:dice_coefficient",
    "overlap": "losses.metrics.whole_set:overlap_scores",
}

# What evaluation measures, unless EVALUATION.METRICS names fewer.
EVALUATION_METRICS = {
    "dice_coef": "losses.metrics.each_image:dice_coefficient",
    "confusion": "losses.metrics.whole_set:confusion_scores",
    "images": "losses.metrics.each_image:image_scores",
    "channels": "losses.metrics.each_channel:channel_scores",
    "soft_images": "losses.metrics.each_image:soft_image_scores",
}

# What evaluation measures besides where EVALUATION.METRICS names it: scores of whole images, which take longer. Rows
# are of `losses.whole_images`; `utils.evaluation.score_table.SCORES` says what their results are.
IMAGE_METRICS = {
    "rand_information": "losses.whole_images.rand_information:RandInformation",
    "objects": "losses.whole_images.objects:ObjectScores",
    "curves": "losses.whole_images.curves:CurveScores",
    "centreline": "losses.whole_images.centreline:CentrelineScores",
    "boundary": "losses.whole_images.boundary:BoundaryScores",
    "lesions": "losses.whole_images.lesions:LesionScores",
}
# Measured unless EVALUATION.METRICS names fewer; the last, of `losses.calibration`, needs no Keras.
DEFAULT_METRICS = (*EVALUATION_METRICS, "calibration")
CHOSEN_METRICS = (*DEFAULT_METRICS, *IMAGE_METRICS)

# How each result averages; `..._class<n>` is that of one class. docs/reference/metrics.md says which published table
# has which.
AVERAGING = {
    "dice": "all pixels of the set as one image, mean over foreground classes",
    "iou": "all pixels of the set as one image, mean over foreground classes",
    "dice_all_classes": "all pixels of the set as one image, mean over classes, background included",
    "iou_all_classes": "all pixels of the set as one image, mean over classes, background included",
    "sensitivity": "true-positive rate (recall), all pixels of the set, mean over foreground classes",
    "precision": "all pixels of the set, mean over foreground classes",
    "specificity": "true-negative rate, all pixels of the set, mean over foreground classes",
    "sensitivity_all_classes": "true-positive rate, all pixels of the set, mean over classes, background included",
    "pixel_accuracy": "share of the pixels of the set whose class is right; ignored pixels are excluded",
    "binary_accuracy": "share of (pixel, channel) pairs of the set that p > 0.5 decides correctly",
    "dice_coef": "mean over images of the mean over foreground classes; absent and not predicted counts 1",
    "dice_images": "mean over images, then over foreground classes; empty images as EVALUATION.EMPTY_IMAGES says",
    "iou_images": "mean over images, then over foreground classes; empty images as EVALUATION.EMPTY_IMAGES says",
    "soft_dice_flat": "of probabilities: pixels and channels of the set flattened, smooth 1",
    "soft_dice_channels": "of probabilities: all pixels of the set, smooth 1, mean over channels, background included",
    "soft_dice_images": "of probabilities: mean over images, channels of an image flattened, smooth 1",
    "soft_dice_images_channels": "of probabilities: mean over images and channels, smooth 1, background included",
}


def build_loss(cfg: DictConfig) -> MaskLoss:
    """Return the loss of one mask output: the sum of the terms of `cfg.LOSS`, each times its weight.

    Args:
        cfg: config with LOSS `{term: weight}` and LOSS_OPTIONS `{term: {option: value}}`. A term of weight 0 is
            left out.

    Returns:
        `loss(y_true, y_pred, boundary_weights=None, counted=None)` -> float32 scalar. `y_pred` are probabilities
        `(batch, height, width, classes)`; the forms of `y_true` are those of `losses.targets.to_one_hot`.
        `boundary_weights` `(batch, height, width, 1)` is what the loader adds to a batch for terms that need it.
        `counted` `(batch,)` is 0 for images that only fill the batch: the loss is that of the others.
        Pixels of DATASET.IGNORE_LABEL are excluded. With OUTPUT.MULTI_LABEL no channel is the background, which
        `include_background` would leave out.

    Example, a prediction that is right everywhere:
        >>> import numpy as np
        >>> from utils.config import load_config
        >>> mask = np.array([[[0, 1], [1, 1]]])
        >>> loss = build_loss(load_config(["loss=dice"]))
        >>> round(float(loss(mask, np.eye(2)[mask])), 3)
        0.0
    """
    import_keras(loud=cfg.VERBOSE == 2)
    from keras import ops

    from losses.targets import center_crop, leave_out, prepare

    multi_label, ignore_label = is_multi_label(cfg), cfg.DATASET.IGNORE_LABEL
    terms = [
        (name, weight, partial(load_object(LOSSES[name].function), **term_options(cfg, name, multi_label)))
        for name, weight in cfg.LOSS.items()
        if weight > 0
    ]

    def loss(
        y_true: KerasTensor,
        y_pred: KerasTensor,
        boundary_weights: KerasTensor | None = None,
        counted: KerasTensor | None = None,
    ) -> KerasTensor:
        y_true, y_pred, valid = prepare(y_true, y_pred, ignore_label, multi_label)
        if counted is not None:
            y_true, valid = leave_out(y_true, valid, counted)
        if boundary_weights is not None:
            boundary_weights = center_crop(ops.cast(boundary_weights, "float32"), *y_pred.shape[1:3])
        total = 0.0
        for name, weight, term in terms:
            if LOSSES[name].needs_boundary_weights and boundary_weights is None:
                raise ValueError(f"The loss term {name} needs the boundary weights that build_dataset(cfg, ...) adds.")
            extra = {"boundary_weights": boundary_weights} if LOSSES[name].needs_boundary_weights else {}
            extra |= {"counted": counted} if LOSSES[name].of_images else {}
            total = total + weight * term(y_true, y_pred, valid, **extra)
        return total

    return loss


def term_options(cfg: DictConfig, name: str, multi_label: bool) -> dict[str, Any]:
    """LOSS_OPTIONS of a term, and what it must know of overlapping classes."""
    options = dict(cfg.LOSS_OPTIONS.get(name, {}))
    if multi_label and "include_background" in LOSSES[name].options:
        options["include_background"] = True  # channel 0 is a class like the others
    return options | ({"multi_label": multi_label} if LOSSES[name].of_true_class else {})


def build_metrics(cfg: DictConfig, full: bool = False) -> list[Metric]:
    """Return new metrics for one mask output with `cfg.OUTPUT.CLASSES` classes.

    Args:
        full: false for METRICS, which cost a training step little; true for EVALUATION_METRICS, of which
            `cfg.EVALUATION.METRICS` may choose some.

    Returns:
        list of `keras.metrics.Metric`. Each `result()` is a scalar, or a dict of scalars named as in AVERAGING.

    Example, one of four pixels wrong:
        >>> import numpy as np
        >>> from utils.config import load_config
        >>> dice_coef, overlap = build_metrics(load_config())
        >>> overlap.update_state(np.array([[[0, 1], [1, 1]]]), np.eye(2)[np.array([[[0, 1], [1, 0]]])])
        >>> round(float(overlap.result()["iou"]), 3)
        0.667
    """
    import_keras(loud=cfg.VERBOSE == 2)
    if full:
        chosen = EVALUATION_METRICS if cfg.EVALUATION.METRICS is None else cfg.EVALUATION.METRICS
        rows = [EVALUATION_METRICS[name] for name in chosen if name in EVALUATION_METRICS]
    else:
        rows = list(METRICS.values())
    return [load_object(location)(cfg) for location in rows]


def build_image_metrics(cfg: DictConfig) -> dict[str, WholeImageMetric]:
    """Return new metrics of one class by name: those of IMAGE_METRICS that `cfg.EVALUATION.METRICS` names.

    >>> from utils.config import load_config
    >>> list(build_image_metrics(load_config(["EVALUATION.METRICS=[confusion,rand_information]"])))
    ['rand_information']
    """
    chosen = {name: load_object(IMAGE_METRICS[name]) for name in cfg.EVALUATION.METRICS or () if name in IMAGE_METRICS}
    edges = cfg.EVALUATION.SIZE_BINS or ()
    return {name: metric(edges) if metric.by_size else metric() for name, metric in chosen.items()}


def averaging(name: str, background: bool = True) -> str | None:
    """The sentence of AVERAGING for a result, that of one class included; None for what is no metric of a mask.

    Args:
        background: whether class 0 is the background, which means over "foreground classes" leave out.
    """
    rule = AVERAGING.get(re.sub(r"_class\d+$", "", name))
    if rule is None or background:
        return rule
    return rule.replace("foreground classes", "all classes").replace(", background included", "")


def check_size(name: str, height: int | None, width: int | None) -> None:
    """Raise a UserError if images of `height` x `width` pixels (None: not known yet) are too small for a loss term."""
    smallest = LOSSES[name].smallest_side
    for key, side in (("INPUT.HEIGHT", height), ("INPUT.WIDTH", width)):
        if side is not None and side < smallest:
            raise UserError(
                f"{key}={side} is too small for the loss term {name}, which needs at least {smallest}: "
                f"set {key}={smallest}, or leave the term out with LOSS.{name}=0 or another loss=NAME."
            )
