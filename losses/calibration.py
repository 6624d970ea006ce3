"""How far probabilities can be taken at their word: calibration error, Brier score, log loss, with NumPy alone."""

from __future__ import annotations

import numpy as np
from omegaconf import DictConfig

from utils.base.class_bits import unpack
from utils.base.classes import is_multi_label
from utils.base.ignored_classes import OF_CLASSES
from utils.config.class_names import has_background

BINS = 15  # of equal width, as in Guo et al. 2017
SMALLEST = 1e-7  # a smaller probability of what is true counts as this in the log loss, which stays finite
AT_ONCE = 2**18  # pixels, so that memory does not grow with the images


# How each result averages.
RULES = {
    "ece": "expected calibration error, 15 bins of confidence: all labelled pixels",
    "brier": "mean over labelled pixels of the sum over classes of (p - truth)^2, 0 to 2",
    "nll": "mean over labelled pixels of -log p of the true class, nats; p below 1e-7 counts as 1e-7",
}
OF_CLASS = "expected calibration error of the probability of one class, 15 bins: all labelled pixels"


class Calibration:
    """Calibration of all labelled pixels of a set, from counts in bins of confidence.

    The confidence of a pixel is the largest of its probabilities, and it is right if that is of the true class. Bin m
    of 15 holds the confidences in ((m - 1)/15, m/15], the first one 0 too. Of one class p stands for (1 - p, p).
    Classes that overlap are (pixel, class) pairs, each with its (1 - p, p). `results()` has, over all pixels and, as
    `<name>_foreground`, over those whose truth or prediction is foreground:

        ece: expected calibration error, sum over the bins of share of the pixels * |share of right ones - mean
            confidence|, in [0, 1] (Guo et al. 2017, "On calibration of modern neural networks", equation 3,
            https://arxiv.org/abs/1706.04599);
        brier: mean of the sum over classes of (p - truth)^2, in [0, 2] (Brier 1950,
            https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2);
        nll: mean of -log p of the true class, in nats; p below 1e-7 counts as 1e-7.

    ece_class<n>: the same error of the probability of one class, right where the class is (classwise ECE, Kull et al.
    2019, "Beyond temperature scaling", https://arxiv.org/abs/1910.12656). A score of no pixels is NaN.

    Args:
        classes: channels of the prediction.
        ignore_label: pixels of that value are excluded, and those of no class.
        multi_label: whether the classes may overlap: masks hold bits, see `utils.base.class_bits`.
        background: whether class 0 of several is the background; else there are no scores of the foreground.

    Attributes:
        bins: {"all", "foreground" or "class<n>": float64 `(15, 3)`: pixels, sum of confidences, right ones}.

    Example, four pixels of confidence 0.75, three of them right:
        >>> calibration = Calibration(classes=2)
        >>> calibration.add(np.array([[1, 1, 1, 0]]), np.array([[[0.25, 0.75]] * 4]))
        >>> calibration.results()["ece"], calibration.results()["brier"]
        (0.0, 0.375)
    """

    def __init__(
        self, classes: int, ignore_label: int | None = None, multi_label: bool = False, background: bool = True
    ) -> None:
        self.classes, self.ignore_label, self.multi_label = classes, ignore_label, multi_label
        self.sigmoids = classes == 1 or multi_label
        first = 1 if self.sigmoids else 0  # sigmoids have no channel of the background
        self.groups = ("all", "foreground") if background or self.sigmoids else ("all",)
        self.class_groups = [f"class{first + index}" for index in range(classes)]
        self.bins = {group: np.zeros((BINS, 3)) for group in (*self.groups, *self.class_groups)}
        self.sums = {group: np.zeros(2) for group in self.groups}  # Brier, log loss

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Calibration:
        """For the masks of a config."""
        return cls(cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL, is_multi_label(cfg), has_background(cfg))

    @classmethod
    def if_chosen(cls, cfg: DictConfig) -> Calibration | None:
        """The same, if EVALUATION.METRICS does not leave it out; masks of EVALUATION.PREDICTIONS have no probabilities.

        >>> from utils.config import load_config
        >>> Calibration.if_chosen(load_config(["EVALUATION.METRICS=[images]"])) is None
        True
        """
        chosen, masks = cfg.EVALUATION.METRICS, cfg.EVALUATION.PREDICTIONS
        return cls.from_config(cfg) if masks is None and (chosen is None or "calibration" in chosen) else None

    def add(self, truth: np.ndarray, probability: np.ndarray) -> None:
        """Add an image or a batch.

        Args:
            truth: int `(..., height, width)`, class indices, or bits of overlapping classes.
            probability: float `(..., height, width, classes)`.
        """
        truth, probability = labelled_pixels(truth, probability, self.ignore_label, self.multi_label)
        for start in range(0, len(truth), AT_ONCE):
            self.add_pixels(truth[start : start + AT_ONCE], probability[start : start + AT_ONCE])

    def add_pixels(self, truth: np.ndarray, probability: np.ndarray) -> None:
        """Add labelled pixels: `(pixels,)` and `(pixels, classes)`."""
        maps = np.ascontiguousarray(probability.T)  # a class at a time is several times faster
        if self.multi_label:
            true = unpack(truth, self.classes).T > 0
        else:
            true = truth == np.arange(1 if self.sigmoids else 0, 2 if self.sigmoids else self.classes)[:, np.newaxis]
        for index, group in enumerate(self.class_groups):
            self.bins[group] += count_bins(maps[index], true[index])
        if self.sigmoids:
            maps, true = maps.ravel(), true.ravel()
            predicted = maps > 0.5
            confidence, right = np.where(predicted, maps, 1 - maps), predicted == true
            of_truth = np.where(true, maps, 1 - maps)
            brier, foreground = 2 * (1 - of_truth) ** 2, true | predicted
        else:
            confidence = maps.max(0)
            of_truth = (maps * true).sum(0)
            chosen = maps.argmax(0)
            right, foreground = chosen == truth, (truth > 0) | (chosen > 0)
            brier = ((maps - true) ** 2).sum(0)
        scores = np.stack([brier, log_loss(of_truth)])
        everywhere: slice | np.ndarray = slice(None)
        for group, kept in zip(self.groups, (everywhere, foreground), strict=False):
            self.bins[group] += count_bins(confidence[kept], right[kept])
            self.sums[group] += scores[:, kept].sum(-1, dtype=np.float64)

    def results(self) -> dict[str, float]:
        """`{name: score}` of all pixels added."""
        scores: dict[str, float] = {}
        for group in self.groups:
            pixels, end = self.bins[group][:, 0].sum(), "" if group == "all" else f"_{group}"
            brier, nll = self.sums[group] / pixels if pixels else (np.nan, np.nan)
            found = {"ece": calibration_error(self.bins[group]), "brier": float(brier), "nll": float(nll)}
            scores |= {f"{name}{end}": value for name, value in found.items()}
        return scores | {f"ece_{group}": calibration_error(self.bins[group]) for group in self.class_groups}

    def rules(self) -> dict[str, str]:
        """`{name of a result: how it averages}`."""
        return {
            name: OF_CLASS
            if "_class" in name
            else RULES[name.removesuffix("_foreground")].replace(
                "labelled pixels",
                "pixels with foreground in truth or prediction" if "_f" in name else "labelled pixels",
            )
            for name in self.results()
        }


def labelled_pixels(
    truth: np.ndarray, probability: np.ndarray, ignore_label: int | None, multi_label: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels with a class: truth `(pixels,)` and probabilities `(pixels, classes)`.

    Pixels at which one of several overlapping classes is ignored are left out.
    """
    labelled = np.ones(truth.shape, bool) if ignore_label is None else truth != ignore_label
    if multi_label:
        labelled &= truth < OF_CLASSES  # no class is ignored by itself
    else:
        labelled &= truth < max(probability.shape[-1], 2)
    return truth[labelled], probability[labelled]


def log_loss(of_truth: np.ndarray) -> np.ndarray:
    """-log of the probability of what is true, in nats, at most 16.1."""
    return -np.log(np.maximum(of_truth, SMALLEST))


def count_bins(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float64 `(15, 3)`: pixels, sum of confidences and right ones of each bin.

    >>> count_bins(np.array([0.0, 1.0, 0.99]), np.array([False, True, False]))[[0, 14]].tolist()
    [[1.0, 0.0, 0.0], [2.0, 1.99, 1.0]]
    """
    index = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(np.int64)
    wrong, rights = np.bincount(index + BINS * right, minlength=2 * BINS).reshape(2, BINS).astype(np.float64)
    return np.stack([wrong + rights, np.bincount(index, confidence, BINS), rights], axis=-1)


def calibration_error(bins: np.ndarray) -> float:
    """The expected calibration error of `count_bins`; NaN without pixels."""
    pixels, confidences, right = bins.T
    return float(np.abs(right - confidences).sum() / pixels.sum()) if pixels.sum() else float("nan")
