"""Fit a temperature to labelled pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from omegaconf import DictConfig

from losses.calibration import Calibration, labelled_pixels
from losses.count_scores import Scoring, confusion_of_masks, scores_of_counts
from utils.base.class_bits import unpack
from utils.base.classes import is_multi_label
from utils.checkpoints.temperature import (
    HIGHEST,
    LOWEST,
    Temperature,
    to_logits,
    to_probabilities,
    uses_sigmoids,
)
from utils.evaluation.postprocessing import one_hot

PIXELS = 500_000  # more change no third digit of a temperature, and would have to be kept


class PixelSample:
    """Labelled pixels of a set, each with the same chance to be among them; all of them if there are no more.

    Args:
        size: how many are kept.
        seed: of the draw.

    Attributes:
        seen: labelled pixels of all images added.
    """

    def __init__(self, cfg: DictConfig, size: int = PIXELS, seed: int = 0) -> None:
        self.ignore_label, self.multi_label = cfg.DATASET.IGNORE_LABEL, is_multi_label(cfg)
        self.size, self.random, self.seen = size, np.random.default_rng(seed), 0
        # Each pixel draws a number, and the smallest numbers stay.
        self.numbers = np.zeros(0, np.float64)
        self.truth, self.probability = np.zeros(0, np.uint8), np.zeros((0, cfg.OUTPUT.CLASSES), np.float32)

    def add(self, truth: np.ndarray, probability: np.ndarray) -> None:
        """Add masks `(batch, height, width)` and probabilities `(batch, height, width, classes)`."""
        truth, probability = labelled_pixels(truth, probability, self.ignore_label, self.multi_label)
        self.seen += len(truth)
        numbers = self.random.random(len(truth))
        if len(self.numbers) == self.size:
            kept = numbers < self.numbers.max()
            truth, probability, numbers = truth[kept], probability[kept], numbers[kept]
        self.numbers = np.concatenate([self.numbers, numbers])
        self.truth = np.concatenate([self.truth, truth])
        self.probability = np.concatenate([self.probability, probability])
        if len(self.numbers) > self.size:
            kept = np.argpartition(self.numbers, self.size)[: self.size]
            self.numbers, self.truth, self.probability = self.numbers[kept], self.truth[kept], self.probability[kept]


def fit_temperature(
    truth: np.ndarray, probability: np.ndarray, sigmoids: bool, multi_label: bool = False, per_class: bool = False
) -> Temperature:
    """The temperature, or one per class, with the smallest negative log-likelihood, between 0.05 and 20.

    Args:
        truth: int `(pixels,)`, at least one.
        probability: float `(pixels, classes)`.
        sigmoids, multi_label: as in `losses.calibration.Calibration`.
        per_class: vector scaling without its offsets (Guo et al. 2017, section 4.2), of the logits of `to_logits`.

    Example, four pixels of confidence 0.9 of which three are right: calibrated it is 0.75.
        >>> probability = np.array([[0.1, 0.9]] * 4)
        >>> temperature = fit_temperature(np.array([1, 1, 1, 0]), probability, sigmoids=False)
        >>> temperature.scale(probability)[0].round(3).tolist()
        [0.25, 0.75]
    """
    from scipy.optimize import minimize

    logits = to_logits(probability.astype(np.float64), sigmoids)
    classes = logits.shape[-1]
    if multi_label:
        true = unpack(truth, classes).astype(np.float64)
    else:
        true = one_hot(truth.astype(np.int64), classes).astype(np.float64)

    def loss(log_temperature: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = logits * np.exp(-log_temperature)
        if sigmoids:
            value = np.logaddexp(0, scaled) - true * scaled
        else:
            top = scaled.max(-1)
            value = top + np.log(np.exp(scaled - top[:, None]).sum(-1)) - (true * scaled).sum(-1)
        # d(loss)/d(logit) = p - truth, and d(scaled logit)/d(log temperature) = -scaled logit.
        slopes = ((true - to_probabilities(scaled, sigmoids)) * scaled).sum(0) / len(scaled)
        return float(value.sum() / len(scaled)), slopes if len(log_temperature) > 1 else slopes.sum(keepdims=True)

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    options = {"ftol": 1e-12, "gtol": 1e-8}
    found = minimize(loss, np.zeros(1), jac=True, method="L-BFGS-B", bounds=[bounds], options=options).x
    if per_class and classes > 1:
        start = np.full(classes, found[0])
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[bounds] * classes, options=options).x
    return Temperature(tuple(float(value) for value in np.exp(found)), sigmoids)


def sampled_dice(cfg: DictConfig, truth: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """`dice` and `dice_class<n>` of labelled pixels `(pixels,)` and their probabilities `(pixels, classes)` of softmax.

    >>> from utils.config import load_config
    >>> probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    >>> scores = sampled_dice(load_config([]), np.array([0, 0, 1, 1]), probability)
    >>> {name: round(value, 3) for name, value in scores.items()}
    {'dice': 0.8, 'dice_class0': 0.667, 'dice_class1': 0.8}
    """
    confusion = confusion_of_masks(truth, probability.argmax(-1), probability.shape[-1])
    scores = scores_of_counts(confusion[np.newaxis], Scoring.from_config(cfg), ["confusion"])
    return {name: value for name, value in scores.items() if name == "dice" or name.startswith("dice_class")}


def calibrate_sample(cfg: DictConfig, sample: PixelSample, split: str) -> tuple[Temperature, dict[str, Any]]:
    """Fit a temperature to a sample.

    Returns:
        The temperature and what the file beside the weights says about it: `per_class`, `split`, `pixels` fitted,
        `labelled_pixels` of the split, and the scores of `Calibration` `before` and `after`, of the pixels fitted.
        Where the temperature may change masks, the scores also have `dice` and `dice_class<n>` of these pixels.
    """
    per_class = bool(cfg.TEMPERATURE.PER_CLASS)
    temperature = fit_temperature(sample.truth, sample.probability, uses_sigmoids(cfg), sample.multi_label, per_class)
    scores = {}
    for name, probability in {
        "before": sample.probability,
        "after": temperature.scale(sample.probability),
    }.items():
        calibration = Calibration.from_config(cfg)
        calibration.add(sample.truth, probability)
        scores[name] = calibration.results()
        if temperature.may_change_masks:
            scores[name] |= sampled_dice(cfg, sample.truth, probability)
    found: Mapping[str, Any] = {
        "per_class": per_class,
        "split": split,
        "pixels": len(sample.truth),
        "labelled_pixels": sample.seen,
        **scores,
    }
    return temperature, dict(found)
