"""Losses and metrics by name. A new loss term is one function and one line of LOSSES.

Importing this module imports no Keras: the rows are loaded when a loss or the metrics are built.
"""

from functools import partial

from utils.errors import UserError
from utils.lookup import load

# A term is a function (y_true, y_pred, **LOSS_OPTIONS.<name>) -> scalar; losses/targets.py prepares its arguments.
LOSSES = {
    "focal": "losses.cross_entropy:focal",
    "bce": "losses.cross_entropy:binary_cross_entropy",
    "cce": "losses.cross_entropy:categorical_cross_entropy",
    "ssim": "losses.structural_similarity:ssim",
    "ms_ssim": "losses.structural_similarity:ms_ssim",
    "iou": "losses.overlap:iou",
    "dice": "losses.overlap:dice",
}

# A row is a function cfg -> keras.metrics.Metric.
METRICS = {
    "dice_coef": "losses.metrics:dice_coefficient",
    "overlap": "losses.metrics:overlap_scores",
}

# An 11-pixel window has to fit, at the coarsest of five levels in MS-SSIM: 11 * 2**4.
SMALLEST_SIDE = {"ssim": 11, "ms_ssim": 176}


def main_score(cfg):
    """The metric that picks the best weights: `dice_coef`, of a classifier `accuracy`. Higher is better."""
    return "accuracy" if cfg.MODEL.TYPE == "classifier" else "dice_coef"


def build_loss(cfg):
    """Return the loss of one mask output: the sum of the terms of `cfg.LOSS`, each times its weight.

    Args:
        cfg: config with LOSS `{term: weight}` and LOSS_OPTIONS `{term: {option: value}}`; weight 0 leaves a term out.

    Returns:
        `loss(y_true, y_pred)` -> float32 scalar. `y_pred` are probabilities `(batch, height, width, classes)`;
        the forms of `y_true` are those of `losses.targets.to_one_hot`.
    """
    prepare = load("losses.targets:prepare")
    terms = [
        (weight, partial(load(LOSSES[name]), **cfg.LOSS_OPTIONS.get(name, {})))
        for name, weight in cfg.LOSS.items()
        if weight > 0
    ]

    def loss(y_true, y_pred):
        y_true, y_pred = prepare(y_true, y_pred)
        return sum(weight * term(y_true, y_pred) for weight, term in terms)

    return loss


def build_metrics(cfg):
    """Return a new list with every metric of METRICS, for one mask output with `cfg.OUTPUT.CLASSES` classes."""
    return [load(location)(cfg) for location in METRICS.values()]


def check_size(name, height, width):
    """Raise a UserError if images of `height` x `width` pixels (None: not known yet) are too small for a loss term."""
    smallest = SMALLEST_SIDE.get(name, 1)
    for key, side in (("INPUT.HEIGHT", height), ("INPUT.WIDTH", width)):
        if side is not None and side < smallest:
            raise UserError(
                f"{key}={side} is too small for the loss term {name}, which needs at least {smallest}: "
                f"set {key}={smallest}, or leave the term out with LOSS.{name}=0 or another loss=NAME."
            )
