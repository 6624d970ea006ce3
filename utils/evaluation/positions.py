"""How good slices are by where they lie in their volume: the ends of an organ are harder than its middle."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.evaluation.case_scores import Regions, ScoredCase, score_region

FIFTHS = 5


def fifths_of_slices(images: Sequence[ScoredCase]) -> list[int]:
    """The part of its volume, 0 to 4, in which the middle of each slice lies; slices are ordered by their number.

    >>> cases = [ScoredCase("", np.zeros(0), "a", number) for number in (7, 3, 5)]
    >>> fifths_of_slices(cases)
    [4, 0, 2]
    """
    volumes: dict[str | None, list[int]] = {}
    for number, case in enumerate(images):
        volumes.setdefault(case.volume, []).append(number)
    fifths = [0] * len(images)
    for slices in volumes.values():
        ordered = sorted(slices, key=lambda number: images[number].slice or 0)
        for place, number in enumerate(ordered):
            fifths[number] = FIFTHS * (2 * place + 1) // (2 * len(ordered))
    return fifths


def score_positions(images: Sequence[ScoredCase], regions: Regions) -> list[dict[str, Any]]:
    """Mean Dice of the slices in each fifth of their volumes.

    Args:
        images: slices, each with its volume.
        regions: of `utils.evaluation.case_scores.find_regions`.

    Returns:
        `{"from", "to": share of the slices of a volume, "slices": int, "regions": {region: {"dice": float | None,
        "slices": int}}}` for each fifth, that of the lowest slice numbers first. A slice without the region in truth
        and prediction is left out of its mean, as it is without a value in `per_image.csv`.
    """
    fifths = fifths_of_slices(images)
    found = []
    for fifth in range(FIFTHS):
        own = [case for case, place in zip(images, fifths, strict=True) if place == fifth]
        means = {}
        for name, region in regions.items():
            dices = [score_region(case.confusion, region)["dice"] for case in own]
            dices = [dice for dice in dices if dice is not None]
            means[name] = {"dice": float(np.mean(dices)) if dices else None, "slices": len(dices)}
        entry = {"from": fifth / FIFTHS, "to": (fifth + 1) / FIFTHS, "slices": len(own), "regions": means}
        found.append(entry)
    return found
