"""Areas under the ROC and the precision-recall curve of all pixels, from histograms of the probabilities."""

import numpy as np

from losses.whole_images import ClassMaps, Part, WholeImageMetric

HALF = int(np.float32(0.5).view(np.int32) >> 13)  # see bin_of
BINS = 2 * HALF + 1  # 4 MB a class, however many the pixels


def bin_of(probability: np.ndarray) -> np.ndarray:
    """The bin of each probability, 0 to BINS - 1, in their order.

    Bins are 0.1% wide, relative to the probability, or to what is left to 1: a network that is sure of most pixels has
    nearly all of its probabilities close to 0 and 1, where bins of equal width would tell few of them apart.

    >>> bin_of(np.array([0, 1e-6, 1.01e-6, 0.5, 1], np.float32)).tolist()
    [0, 109617, 109628, 129024, 258048]
    """
    probability = np.clip(probability, 0, 1).astype(np.float32)
    # The bits of floats that are not negative have the order of the floats; 10 of the fraction are kept.
    near = np.minimum(probability, 1 - probability).view(np.int32) >> 13
    return np.where(probability <= 0.5, near, BINS - 1 - near)


class CurveScores(WholeImageMetric):
    """roc_auc and pr_auc of a class against all others, over the pixels of the set that are not ignored.

    Probabilities of one bin count as equal: roc_auc is wrong by at most half the share of
    pairs of a true and another pixel that fall in one bin. pr_auc is the average precision, the sum over thresholds of
    precision times the step of recall, as in scikit-learn. Both are left out if all pixels are of the class, or none.
    """

    needs_probabilities = True

    def __init__(self) -> None:
        self.counts = np.zeros((2, BINS), np.int64)  # pixels of other classes, and of this one

    def add(self, maps: ClassMaps) -> None:
        bins = bin_of(maps.probability[maps.valid])
        pairs = np.bincount(bins + BINS * maps.truth[maps.valid], minlength=2 * BINS)
        self.counts += pairs.reshape(2, BINS)

    def results(self) -> dict[str, list[Part] | float]:
        negative, positive = self.counts[:, ::-1].astype(float)  # the most probable first
        true, false = positive.cumsum(), negative.cumsum()
        if not (true[-1] and false[-1]):
            return {}
        better = (negative * (true - positive / 2)).sum()
        precision = true / np.maximum(true + false, 1)
        return {
            "roc_auc": float(better / (true[-1] * false[-1])),
            "pr_auc": float((positive * precision).sum() / true[-1]),
        }
