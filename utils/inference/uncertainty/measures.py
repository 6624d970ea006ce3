"""How unsure the members of a prediction are at each pixel, as a share of the most there can be: 0 to 1.

The mean of the members' probabilities is p, their number M, the number of classes C. Sources: A. Kendall and Y. Gal
2017, "What uncertainties do we need in Bayesian deep learning for computer vision?", https://arxiv.org/abs/1703.04977;
L. Smith and Y. Gal 2018, "Understanding measures of uncertainty for adversarial example detection", section 3,
https://arxiv.org/abs/1803.08533.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SMALLEST = 1e-37  # a smaller probability counts as this: float32 has none much smaller

Map = np.ndarray  # float32 `(height, width)`


class Measure(NamedTuple):
    """A row of MEASURES.

    Attributes:
        finish: function (mean probabilities, mean of `of_member` over the members or None, sigmoids) -> map.
        of_member: function (probabilities of a member, sigmoids) -> map, or None if the mean probabilities are enough.
        members: the fewest there must be.
    """

    finish: Callable[[np.ndarray, Map | None, bool], Map]
    of_member: Callable[[np.ndarray, bool], Map] | None = None
    members: int = 1


def entropy(probability: np.ndarray, sigmoids: bool) -> Map:
    """The entropy of probabilities `(height, width, classes)`, divided by the largest there is.

    Of softmax -sum over the classes of p ln p, divided by ln C; of sigmoids the mean over the classes of that of
    (p, 1 - p), divided by ln 2.

    >>> entropy(np.array([[[0.5, 0.5], [1.0, 0.0]]]), sigmoids=False).tolist()
    [[1.0, 0.0]]
    >>> entropy(np.array([[[0.5], [0.9]]]), sigmoids=True).round(3).tolist()
    [[1.0, 0.469]]
    """
    if sigmoids:
        sums = weighted_log(probability) + weighted_log(1 - probability)
        return np.maximum(-sums.mean(axis=-1) / math.log(2), 0)
    return np.maximum(-weighted_log(probability).sum(axis=-1) / math.log(probability.shape[-1]), 0)


def weighted_log(probability: np.ndarray) -> np.ndarray:
    """p ln p, 0 where p is 0."""
    return probability * np.log(np.maximum(probability, SMALLEST))


def predictive_entropy(mean: np.ndarray, of_members: Map | None, sigmoids: bool) -> Map:
    """The entropy of the mean probabilities: everything there is to be unsure of."""
    return entropy(mean, sigmoids)


def mutual_information(mean: np.ndarray, of_members: Map | None, sigmoids: bool) -> Map:
    """The entropy of the mean less the mean of the entropies: 0 where members agree, however unsure each of them is.

    >>> sure = np.array([[[1.0, 0.0]]]), np.array([[[0.0, 1.0]]])  # of the opposite
    >>> of_members = (entropy(sure[0], False) + entropy(sure[1], False)) / 2
    >>> mutual_information((sure[0] + sure[1]) / 2, of_members, False).tolist()
    [[1.0]]
    """
    assert of_members is not None
    return np.maximum(entropy(mean, sigmoids) - of_members, 0)


def squares(probability: np.ndarray, sigmoids: bool) -> Map:
    """The mean over the classes of p^2."""
    return np.square(probability).mean(axis=-1)


def variance(mean: np.ndarray, of_members: Map | None, sigmoids: bool) -> Map:
    """The variance of the probabilities between members (divided by M), mean over the classes, divided by 1/4.

    A number between 0 and 1 has a variance of 1/4 at most.

    >>> variance(np.array([[[0.5]]]), np.array([[0.5]]), True).tolist()  # of 0 and 1
    [[1.0]]
    """
    assert of_members is not None
    return np.maximum(4 * (of_members - squares(mean, sigmoids)), 0)


# PREDICT.UNCERTAINTY -> its row
MEASURES = {
    "entropy": Measure(predictive_entropy),
    "mutual_information": Measure(mutual_information, entropy, members=2),
    "variance": Measure(variance, squares, members=2),
}
