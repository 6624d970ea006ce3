"""Differences between runs case by case, with intervals and tests, and how stable their ranking is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from utils.comparison.runs import MEAN, Run
from utils.evaluation.case_scores import bootstrap_interval
from utils.evaluation.score_table import LOWER_IS_BETTER

FEWEST = 6  # cases with a difference, below which no Wilcoxon test can reach p < 0.05
OUTCOMES = {"wins": 1, "ties": 0, "losses": -1}
LIMITS = 1.96  # standard deviations that the limits of agreement are from the bias


def find_regions_compared(runs: Sequence[Run]) -> list[str]:
    """MEAN if there are several classes, then each region."""
    return [*([MEAN] if len(runs[0].classes) > 1 else []), *runs[0].regions]


def score_runs(runs: Sequence[Run], bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """`{"score", "region", "runs": {run: {"value", "low", "high", "cases"}}}`: means over the cases of each run."""
    keys = [(score, region) for score in shared_scores(runs) for region in find_regions_compared(runs)]
    columns = [run.column(score, region) for score, region in keys for run in runs]
    means = iter(means_of(columns, bootstrap, seed))
    entries: list[dict[str, Any]] = []
    for score, region in keys:
        found = {run.name: next(means) for run in runs}
        if any(mean["cases"] for mean in found.values()):
            entries.append({"score": score, "region": region, "runs": found})
    return entries


def shared_scores(runs: Sequence[Run]) -> list[str]:
    """The scores that all runs have."""
    return [score for score in runs[0].scores() if all(score in run.scores() for run in runs[1:])]


def means_of(columns: Sequence[np.ndarray], bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """`{"value", "low", "high", "cases"}` of each column `(cases,)`: the mean of what is not NaN, its 95% interval.

    All columns are resampled together, so that each sees the same cases.
    """
    values = np.stack(columns, axis=1)
    defined = ~np.isnan(values)
    table = np.stack([np.where(defined, values, 0), defined], axis=-1)
    counts = defined.sum(0)
    lows, highs = bootstrap_interval(table, bootstrap, seed)
    return [
        {"value": float(total / count) if count else None, "low": low, "high": high, "cases": int(count)}
        if count > 1
        else {"value": float(total) if count else None, "low": None, "high": None, "cases": int(count)}
        for total, count, low, high in zip(table[..., 0].sum(0), counts, lows, highs, strict=True)
    ]


def compare_pairs(runs: Sequence[Run], bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """Every two runs in every score and region.

    Returns:
        A dict for each: `score`, `region`, `one`, `other`, `difference` (mean of one - other) with `low` and `high`,
        `cases`, and what `compare_pair` returns; `p_holm` is p corrected over the pairs (Holm 1979).
    """
    pairs = list(combinations(runs, 2))
    entries: list[dict[str, Any]] = []
    columns = []
    for score in shared_scores(runs):
        for region in find_regions_compared(runs):
            own = []
            for one, other in pairs:
                difference = one.column(score, region) - other.column(score, region)
                difference[np.abs(difference) < 1e-12] = 0  # rounding
                columns.append(difference)
                found = compare_pair(difference[~np.isnan(difference)], score)
                own.append({"score": score, "region": region, "one": one.name, "other": other.name, **found})
            for entry, corrected in zip(own, holm([entry["p"] for entry in own]), strict=True):
                entry["p_holm"] = corrected
            entries += own
    for entry, mean in zip(entries, means_of(columns, bootstrap, seed), strict=True):
        entry["difference"] = mean.pop("value")
        entry |= mean
    return [entry for entry in entries if entry["cases"]]


def compare_pair(differences: np.ndarray, score: str) -> dict[str, Any]:
    """What the differences of two runs say, case by case.

    Args:
        differences: `(cases,)`, first run - second run.
        score: its name, which says whether higher is better.

    Returns:
        `p` of the Wilcoxon signed-rank test, two-sided, cases without a difference left out, None with fewer than 2
        cases; `wins`, `ties` and `losses` of the first run.

    >>> compare_pair(np.array([0.1, 0.0, -0.2, 0.3]), "hd95_mm")
    {'p': 0.75, 'wins': 1, 'ties': 1, 'losses': 2}
    """
    from scipy.stats import wilcoxon

    better = -differences if score in LOWER_IS_BETTER else differences
    p = None
    if len(differences) > 1:
        p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return {"p": p, **{name: int((np.sign(better) == sign).sum()) for name, sign in OUTCOMES.items()}}


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number (Holm 1979); None stays None.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    order = sorted((value, index) for index, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (value, index) in enumerate(order):
        largest = max(largest, min(value * (len(order) - rank), 1.0))
        corrected[index] = largest
    return corrected


def rank_runs(runs: Sequence[Run], score: str, region: str, bootstrap: int, seed: int) -> dict[str, Any]:
    """How often each run has each rank when cases are drawn again (Wiesenfarth et al. 2021).

    Only cases that all runs define count. Equal means share the better rank.

    Returns:
        `{"score", "region", "cases", "runs": {run: {"rank", "shares": [share of the draws on rank 1, 2, ...]}}}`;
        shares are None with fewer than 2 cases, or without resamples.
    """
    table = np.stack([run.column(score, region) for run in runs])
    table = table[:, ~np.isnan(table).any(0)] * (-1 if score in LOWER_IS_BETTER else 1)
    cases, ranks = table.shape[1], None
    if bootstrap and cases > 1:
        random = np.random.default_rng(seed)
        ranks = np.stack([ranks_of(table[:, random.integers(cases, size=cases)]) for _ in range(bootstrap)])
    found = {}
    for number, run in enumerate(runs):
        shares = None if ranks is None else [float((ranks[:, number] == r + 1).mean()) for r in range(len(runs))]
        found[run.name] = {"rank": int(ranks_of(table)[number]) if cases else None, "shares": shares}
    return {"score": score, "region": region, "cases": cases, "runs": found}


def ranks_of(table: np.ndarray) -> np.ndarray:
    """The rank of each run, 1 the best, by the mean of `(runs, cases)`.

    >>> ranks_of(np.array([[0.5], [0.9], [0.5]])).tolist()
    [2, 1, 2]
    """
    means = np.round(table.mean(1), 12)
    return 1 + (means[np.newaxis] > means[:, np.newaxis]).sum(1)


def compare_volumes(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Bland and Altman (1986) of the size of each class: `{"run", "region", "unit", "bias", "low", "high", "mean",
    "difference"}`; bias is the mean of predicted - true, low and high are the limits of agreement, mean and difference
    are those of each case; ml where the spacing is known, else pixels."""
    entries = []
    for run in runs:
        for region in run.regions:
            true, unit = run.column("true_ml", region), "ml"
            difference = run.column("volume_error_ml", region)
            if np.isnan(true).any():
                true, unit = run.column("true", region), "pixels"
                difference = run.column("predicted", region) - true
            bias, deviation = float(difference.mean()), float(difference.std(ddof=1)) if len(difference) > 1 else None
            limits = [None, None] if deviation is None else [bias - LIMITS * deviation, bias + LIMITS * deviation]
            mean = (true + difference / 2).tolist()
            entries.append(
                {"run": run.name, "region": region, "unit": unit, "bias": bias, "low": limits[0], "high": limits[1]}
                | {"mean": mean, "difference": difference.tolist()}
            )
    return entries


def format_p(value: float | None) -> str:
    """A p value.

    >>> format_p(0.0004), format_p(0.032), format_p(None)
    ('<0.001', '0.032', '\u2013')
    """
    if value is None or math.isnan(value):
        return "\u2013"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
