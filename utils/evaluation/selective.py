"""Does the expected Dice tell which masks are wrong? Rank correlation, risk and coverage, failures caught."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.inference.uncertainty.learnt import Curve

FIRST = 0.1  # share of the review list of which the report says how many failures it catches
FEWEST = 10  # cases, from which on a curve is learnt
POINTS = 200  # of a risk-coverage curve that are kept


def risk_coverage(expected: np.ndarray, dice: np.ndarray) -> np.ndarray:
    """The risk, mean of 1 - Dice, of the k surest cases, for k = 1 to n: `(n,)`.

    Cases of equal expected Dice share their mean: what any order of them has on average.

    Y. Geifman and R. El-Yaniv 2017, "Selective classification for deep neural networks",
    https://arxiv.org/abs/1705.08500.

    >>> risk_coverage(np.array([0.9, 0.8, 0.1]), np.array([1.0, 0.5, 0.0])).round(3).tolist()
    [0.0, 0.25, 0.5]
    """
    _, group, counts = np.unique(-expected, return_inverse=True, return_counts=True)  # the surest first
    means = np.bincount(group, 1 - dice) / counts
    return np.cumsum(np.repeat(means, counts)) / np.arange(1, len(dice) + 1)


def area_under_risk(expected: np.ndarray, dice: np.ndarray) -> float:
    """AURC: the mean of `risk_coverage`; 0 is best (Y. Geifman et al. 2019, https://arxiv.org/abs/1805.08206)."""
    return float(risk_coverage(expected, dice).mean())


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's, -1 to 1; None with fewer than three cases or where one of the two is constant."""
    from scipy import stats

    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(stats.spearmanr(one, other).statistic)


def fit_curve(expected: np.ndarray, dice: np.ndarray) -> Curve | None:
    """The ascending curve nearest to the Dice of cases (least squares, isotonic regression); None of too few cases.

    >>> curve = fit_curve(np.repeat([0.1, 0.5, 0.9], 4), np.repeat([0.2, 0.8, 0.6], 4))
    >>> list(curve.expected), list(curve.dice)
    ([0.1, 0.5, 0.9], [0.2, 0.7, 0.7])
    """
    from scipy.optimize import isotonic_regression

    if len(expected) < FEWEST:
        return None
    places, group, counts = np.unique(expected, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(group, dice) / counts, weights=counts).x
    # Within a step only its ends are needed.
    inside = np.zeros(len(fitted), bool)
    inside[1:-1] = (np.diff(fitted)[:-1] == 0) & (np.diff(fitted)[1:] == 0)
    kept = [(round(float(x), 6), round(float(y), 6)) for x, y in zip(places[~inside], fitted[~inside], strict=True)]
    return Curve([x for x, _ in kept], [y for _, y in kept])


def order_intervals(
    expected: np.ndarray, dice: np.ndarray, units: Sequence[str], bootstrap: int, seed: int
) -> dict[str, list[float] | None]:
    """95% percentile bootstrap intervals `[low, high]` of `spearman` and `aurc`.

    Slices of a volume resemble each other, so whole volumes are drawn.

    Args:
        expected, dice: of cases, `(n,)`.
        units: of each case the name of what is drawn: its volume, or itself.
        bootstrap: resamples; 0 gives None, as does a single unit.
        seed: of the resampling.
    """
    _, unit_of = np.unique(units, return_inverse=True)
    members = [np.flatnonzero(unit_of == unit) for unit in range(unit_of.max(initial=-1) + 1)]
    random, found = np.random.default_rng(seed), []
    for _ in range(bootstrap if len(members) > 1 else 0):
        drawn = np.concatenate([members[unit] for unit in random.integers(len(members), size=len(members))])
        rank = rank_correlation(expected[drawn], dice[drawn])
        found.append((np.nan if rank is None else rank, area_under_risk(expected[drawn], dice[drawn])))
    columns = np.array(found).T if found else np.full((2, 1), np.nan)
    return {
        name: None if np.isnan(column).all() else np.nanpercentile(column, (2.5, 97.5)).tolist()
        for name, column in zip(("spearman_interval", "aurc_interval"), columns, strict=True)
    }


def is_useless(found: Mapping[str, Any]) -> bool:
    """Whether what `judge_cases` and `order_intervals` found speaks for no order: Spearman's may well be 0, or less.

    >>> is_useless({"spearman": 0.4, "spearman_interval": [-0.1, 0.7]}), is_useless({"spearman": 0.4})
    (True, False)
    """
    interval = found.get("spearman_interval")
    return found["spearman"] is not None and min(found["spearman"], interval[0] if interval else 1) <= 0


def judge_cases(expected: np.ndarray, dice: np.ndarray, below: float) -> dict[str, Any]:
    """What `evaluation.json` says of cases `(n,)`.

    Args:
        expected: the expected Dice.
        dice: the true one.
        below: a mask with a lower Dice is a failure.

    Returns:
        `cases`, `failures`; `spearman` of both; `aurc`, that of the ideal order (`aurc_ideal`), the excess over it
        (`aurc_excess`), that of no order (`aurc_random`, the mean risk); of the first tenth of the review list, rounded
        up, `first_cases` and `first_failures`; `risk_coverage`, at most POINTS of them, with that of the ideal order.
    """
    failures = dice < below
    first = math.ceil(FIRST * len(dice))
    least_sure = np.argsort(expected, kind="stable")[:first]
    risks = risk_coverage(expected, dice)
    ideals = risk_coverage(dice, dice)
    area, ideal = float(risks.mean()), float(ideals.mean())
    shown = np.unique(np.linspace(0, len(risks) - 1, POINTS).round().astype(int))
    return {
        "cases": len(dice),
        "below": below,
        "failures": int(failures.sum()),
        "spearman": rank_correlation(expected, dice),
        "aurc": area,
        "aurc_ideal": ideal,
        "aurc_excess": area - ideal,
        "aurc_random": float(np.mean(1 - dice)),
        "first_cases": first,
        "first_failures": int(failures[least_sure].sum()),
        "risk_coverage": [
            {"coverage": (index + 1) / len(risks), "risk": float(risks[index]), "ideal": float(ideals[index])}
            for index in shown.tolist()
        ],
    }
