"""Choose step by step, and test the choice on cases that it was not made on.

Ensembles grow greedily (Caruana et al. 2004, "Ensemble selection from libraries of models",
https://doi.org/10.1145/1015330.1015432), without a network twice: PREDICT.ENSEMBLE averages each once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from utils.choice.counts import Candidate, Counts
from utils.choice.scores import score_of

THRESHOLDS = tuple(round(0.1 * number, 1) for number in range(1, 10))
SIZES = (10, 30, 100, 300, 1000, 3000, 10000)  # pixels or voxels, of PREDICT.POSTPROCESS.MINIMUM_SIZE
FIRST = "network"  # the step that is always taken
# Step -> what it chooses, in the order in which they are taken.
STEPS = {
    FIRST: "one run",
    "tta": "test-time augmentation",
    "ensemble": "mean of several runs",
    "thresholds": "of each class",
    "postprocessing": "largest component, minimum size, holes",
}

Search = Generator[list[Candidate], None, dict[str, Candidate]]  # yields what must be counted


@dataclass(frozen=True)
class Options:
    """How to choose.

    Attributes:
        score: a row of `utils.choice.scores.SCORES`.
        steps: those of STEPS that are tried.
        members: runs of an ensemble at most.
        least_gain: what a change must gain on the cases of the choice to be made.
        tta: kinds that all runs kept.
        sizes: minimum sizes that are tried.
    """

    score: str
    steps: tuple[str, ...]
    members: int
    least_gain: float
    tta: tuple[str, ...]
    sizes: tuple[int, ...]


def search(counts: Counts, cases: np.ndarray, options: Options) -> Search:
    """The choice on some cases.

    Args:
        counts: of the candidates; what is yielded must be counted before the search goes on.
        cases: numbers of the cases that are looked at.
        options: how to choose.

    Returns:
        {step: the candidate chosen up to it}, for every one of STEPS.
    """
    runs, classes = range(len(counts.runs)), len(counts.kept.classes)

    def value(candidate: Candidate) -> float:
        return float(score_of(options.score, counts[candidate][cases]))

    def better(chosen: Candidate, others: Iterable[Candidate]) -> Candidate:
        """The best of the others if it gains enough, else what is chosen; of equal ones the first."""
        best = max(others, key=value, default=chosen)
        return best if value(best) > value(chosen) + options.least_gain else chosen

    singles = [Candidate((run,)) for run in runs]
    yield singles
    chosen = max(singles, key=value)
    ladder = {FIRST: chosen}
    if "tta" in options.steps:
        others = [replace(chosen, tta=kind) for kind in options.tta]
        yield others
        chosen = better(chosen, others)
    ladder["tta"] = chosen
    if "ensemble" in options.steps and len(runs) > 1:
        everyone = replace(chosen, runs=tuple(runs))
        yield [everyone]
        for _ in range(min(options.members, len(runs)) - 1):
            others = [replace(chosen, runs=tuple(sorted({*chosen.runs, run}))) for run in runs]
            yield others
            grown = better(chosen, others)
            if grown == chosen:
                break
            chosen = grown
        if len(runs) <= options.members:
            chosen = better(chosen, [everyone])
    ladder["ensemble"] = chosen
    if "thresholds" in options.steps:
        chosen = yield from search_thresholds(chosen, classes, better, value)
    ladder["thresholds"] = chosen
    if "postprocessing" in options.steps:
        flags = [(largest, holes) for largest in (False, True) for holes in (False, True)]
        others = [replace(chosen, largest=largest, fill_holes=holes) for largest, holes in flags]
        yield others
        chosen = better(chosen, others)
        others = [replace(chosen, minimum_size=size) for size in options.sizes]
        yield others
        chosen = better(chosen, others)
    ladder["postprocessing"] = chosen
    return ladder


def search_thresholds(
    chosen: Candidate,
    classes: int,
    better: Callable[[Candidate, Iterable[Candidate]], Candidate],
    value: Callable[[Candidate], float],
) -> Generator[list[Candidate], None, Candidate]:
    """The thresholds of the classes: first one for all, then that of each class by itself, then all of these."""
    others = [replace(chosen, thresholds=(limit,) * classes) for limit in THRESHOLDS]
    yield others
    common = max(others, key=value)
    if classes > 1:
        assert common.thresholds is not None
        grids = [
            [replace(common, thresholds=replaced(common.thresholds, index, limit)) for limit in THRESHOLDS]
            for index in range(classes)
        ]
        yield [candidate for grid in grids for candidate in grid]
        best = [max(grid, key=value).thresholds for grid in grids]
        own = replace(common, thresholds=tuple(limits[index] for index, limits in enumerate(best) if limits))
        yield [own]
        others = [*others, *(candidate for grid in grids for candidate in grid), own]
    return better(chosen, others)


def replaced(values: Sequence[float], index: int, value: float) -> tuple[float, ...]:
    """Values with another one at an index.

    >>> replaced((0.5, 0.5), 1, 0.2)
    (0.5, 0.2)
    """
    return (*values[:index], value, *values[index + 1 :])


def search_all(counts: Counts, parts: Sequence[np.ndarray], options: Options) -> list[dict[str, Candidate]]:
    """`search` on each of several sets of cases; all take their steps together, so that cases are read once for all."""
    searches = [search(counts, cases, options) for cases in parts]
    results: list[dict[str, Candidate] | None] = [None] * len(searches)
    while open_ones := [number for number, result in enumerate(results) if result is None]:
        wanted: list[Candidate] = []
        for number in open_ones:
            try:
                wanted += next(searches[number])
            except StopIteration as end:
                results[number] = end.value
        counts.add(wanted)
    return [result for result in results if result is not None]


def assign_folds(groups: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """The fold of each case, int `(cases,)`: groups stay together, folds have about equally many cases.

    >>> folds = assign_folds(["a", "a", "b", "c"], 2, 0)
    >>> bool(folds[0] == folds[1]), sorted(np.bincount(folds).tolist())
    (True, [2, 2])
    """
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(numbers)
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of, filled = np.zeros(len(names), int), np.zeros(min(folds, len(names)), int)
    for group in sorted(order, key=lambda group: -sizes[group]):  # the largest first, each into the emptiest fold
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    return fold_of[numbers]


def held_out(counts: Counts, ladders: Sequence[dict[str, Candidate]], folds: np.ndarray) -> dict[str, np.ndarray]:
    """`{step: int64 (cases, classes, COUNTS)}`, each case as the choice without its fold predicts it."""
    tables = {}
    for step in STEPS:
        table = np.zeros_like(counts[ladders[0][step]])
        for fold, ladder in enumerate(ladders):
            table[folds == fold] = counts[ladder[step]][folds == fold]
        tables[step] = table
    return tables
