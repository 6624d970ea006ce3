"""The numbers of a case, an image or a volume, that say how sure its mask is; added up image by image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from utils.base.class_bits import in_region
from utils.inference.mask_meaning import MaskMeaning
from utils.inference.uncertainty.members import FULL

EXACT = 2**24  # float32 counts to this without an error


class CaseNumbers(NamedTuple):
    """How sure the mask of a case is.

    Attributes:
        uncertainty: mean of the map over the predicted foreground, 0 to 1; None without any.
        volume_cv: coefficient of variation of the volume over the members (Roy et al. 2019): standard deviation (over
            their number, not one less) by mean; mean over the classes that one of them has. None with one member or
            without foreground.
        expected_dice: what the Dice of the mask may be, 0 to 1, see `CaseSums`.
    """

    uncertainty: float | None
    volume_cv: float | None
    expected_dice: float


class CaseSums:
    """What is counted of the images of a case.

    With several members, the expected Dice is the mean over all pairs of members of the Dice of one mask with the
    other, which is the mean over the foreground classes that one of the two has; 1 where neither has any (A. G. Roy et
    al. 2019, "Bayesian QuickNAT", section 2.4, https://arxiv.org/abs/1811.09800).

    With one, a class that the mask has counts with the soft Dice of its mask m and probabilities p,
    2 sum(p m) / (sum(p) + sum(m)), which comes close to the expectation of the Dice if p are calibrated (B. L. C.
    Borges et al. 2024, "Soft Dice confidence", https://arxiv.org/abs/2402.10665). A class that it lacks is there with
    the largest of its p, if that pixel stands for all, and then has a Dice of 0: the soft Dice are added up and divided
    by the number of classes that the mask has plus those probabilities. An empty mask has 1 less the largest
    probability of foreground at a pixel: how likely it is right to be empty.

    Masks are those before postprocessing, so that all of it is known image by image.

    Args:
        meaning: of the masks.
        members: how many there are.

    Example, two members that share one of their three pixels:
        >>> sums = CaseSums(MaskMeaning(["background", "liver"]), members=2)
        >>> masks = np.array([[[1, 1, 0]], [[0, 1, 0]]], np.uint8)
        >>> probability = np.array([[[0.5, 0.5], [0.1, 0.9], [0.9, 0.1]]])
        >>> sums.add(masks, probability, masks[1], np.array([[0, 32768, 9]], np.uint16))
        >>> numbers = sums.numbers()
        >>> round(numbers.expected_dice, 4), round(numbers.volume_cv, 4), round(numbers.uncertainty, 4)
        (0.6667, 0.3333, 0.5)
    """

    def __init__(self, meaning: MaskMeaning, members: int) -> None:
        self.meaning, self.members = meaning, members
        self.classes = range(meaning.first_class, len(meaning.class_names))
        self.common = np.zeros((len(self.classes), members, members), np.int64)  # pixels that two members share
        self.soft = np.zeros((len(self.classes), 3))  # sum of p m, of p, of m
        self.likeliest = 0.0  # probability of foreground at a pixel
        self.highest = np.zeros(len(self.classes))  # and of each class
        self.foreground, self.unsure = 0, 0

    def add(self, members: np.ndarray, probability: np.ndarray, mask: np.ndarray, unsure: np.ndarray) -> None:
        """Add an image.

        Args:
            members: uint8 `(members, height, width)`, the mask of each.
            probability: `(height, width, classes)`, their mean.
            mask: uint8 `(height, width)`, of the mean.
            unsure: uint16 `(height, width)`, the map.
        """
        for number, index in enumerate(self.classes):
            if self.members > 1:
                self.common[number] += count_common(self.areas(members, index))
            channel = probability[..., index - (len(self.meaning.class_names) - probability.shape[-1])]
            self.highest[number] = max(self.highest[number], float(channel.max()))
            area = self.areas(mask, index)
            self.soft[number] += channel.sum(where=area, dtype=np.float64), channel.sum(dtype=np.float64), area.sum()
        sigmoids = probability.shape[-1] < len(self.meaning.class_names)
        highest = float(probability.max()) if sigmoids else 1 - float(probability[..., 0].min())
        self.likeliest = max(self.likeliest, highest)
        foreground = mask >= self.meaning.first_class
        self.foreground += int(foreground.sum())
        self.unsure += int(unsure.sum(where=foreground, dtype=np.int64))

    def areas(self, masks: np.ndarray, index: int) -> np.ndarray:
        """Where a class is."""
        return in_region(masks, [index], True) if self.meaning.multi_label else masks == index

    def numbers(self) -> CaseNumbers:
        """Those of the images added."""
        return CaseNumbers(
            self.unsure / self.foreground / FULL if self.foreground else None,
            self.volume_cv() if self.members > 1 else None,
            self.pairwise_dice() if self.members > 1 else self.soft_dice(),
        )

    def volume_cv(self) -> float | None:
        """See `CaseNumbers`."""
        volumes = np.diagonal(self.common, axis1=1, axis2=2)
        volumes = volumes[volumes.any(axis=1)]
        return float(np.mean(volumes.std(axis=1) / volumes.mean(axis=1))) if len(volumes) else None

    def pairwise_dice(self) -> float:
        """The expected Dice of several members."""
        one, other = np.triu_indices(self.members, k=1)
        volumes = np.diagonal(self.common, axis1=1, axis2=2)
        either = volumes[:, one] + volumes[:, other]
        dice = 2 * self.common[:, one, other] / np.maximum(either, 1)
        found = (either > 0).sum(axis=0)
        return float(np.where(found, dice.sum(axis=0) / np.maximum(found, 1), 1).mean())

    def soft_dice(self) -> float:
        """The expected Dice of one member."""
        there = self.soft[:, 2] > 0
        if not there.any():
            return 1 - self.likeliest
        both, likely, area = self.soft[there].T
        return float((2 * both / (likely + area)).sum() / (there.sum() + self.highest[~there].sum()))


def count_common(areas: np.ndarray) -> np.ndarray:
    """How many pixels each two of `(members, height, width)` bool share: int64 `(members, members)`."""
    flat = areas.reshape(len(areas), -1)
    common = np.zeros((len(areas), len(areas)), np.int64)
    step = max(1, min(EXACT, 2**26 // len(areas)))
    for start in range(0, flat.shape[1], step):
        part = flat[:, start : start + step].astype(np.float32)  # a product of float32 takes a tenth of one of integers
        common += (part @ part.T).astype(np.int64)
    return common
