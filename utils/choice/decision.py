"""The choice of all cases, and what each of its steps gains on cases that it was not made on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from utils.choice.counts import Candidate, Counts
from utils.choice.scores import score_of
from utils.choice.search import FIRST, SIZES, STEPS, Options, assign_folds, held_out, search_all


def decide(counts: Counts, groups: Sequence[str], options: Options, folds: int, bootstrap: int, seed: int) -> dict:
    """Choose on all cases, with the steps that help on held-out ones.

    Args:
        counts: of the runs.
        groups: of each case; cases of a group stay in one fold, and are drawn together.
        options: how to choose.
        folds: of the cross-validation, at most as many as there are groups.
        bootstrap: resamples of the groups; 0 for no intervals.
        seed: of folds and resamples.

    Returns:
        `chosen`, a Candidate; `folds`, how many; `steps`, a dict for each of STEPS that could be tried: `name`, `what`
        it chose, `used`, and on held-out cases `score` up to it, `gain` over the step before, `low` and `high` of its
        95% interval; `total`, the same of all steps used against the first; `same_cases`, the score of the choice on
        the cases it was made on.
    """
    numbers = assign_folds(groups, folds, seed)
    everything = np.arange(len(numbers))
    parts = [everything[numbers != fold] for fold in range(numbers.max() + 1)]
    weights = draw_groups(groups, bootstrap, seed)

    def test(steps: tuple[str, ...]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], dict[str, Candidate]]:
        *ladders, final = search_all(counts, [*parts, everything], replace(options, steps=steps))
        tables = held_out(counts, ladders, numbers)
        entries, last = [], FIRST
        for step in (FIRST, *steps):
            entry = {"name": step, **compare(options.score, tables[last], tables[step], weights)}
            entries.append(entry | {"agree": sum(ladder[step] == final[step] for ladder in ladders)})
            last = step
        return entries, tables, final

    tried, _, _ = test(options.steps)
    helpful = tuple(entry["name"] for entry in tried if entry["name"] != FIRST and entry["gain"] > 0)
    entries, tables, final = test(helpful)
    used = {entry["name"]: entry for entry in entries}
    steps = []
    for entry in tried:
        chosen = used.get(entry["name"], entry)
        what = describe_step(counts, entry["name"], final[entry["name"]]) if entry["name"] in used else "does not help"
        steps.append({**chosen, "used": entry["name"] in used, "what": what})
    last = entries[-1]["name"]
    return {
        "chosen": final[last],
        "folds": len(parts),
        "steps": steps,
        "total": compare(options.score, tables[FIRST], tables[last], weights),
        "same_cases": float(score_of(options.score, counts[final[last]])),
    }


def compare(score: str, before: np.ndarray, after: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """`{"score", "gain", "low", "high"}` of counts after a step against those before it, on the same cases."""
    found = float(score_of(score, after))
    low, high = None, None
    if len(weights):
        gains = score_of(score, after, weights) - score_of(score, before, weights)
        low, high = np.percentile(gains, (2.5, 97.5)).tolist()
    return {"score": found, "gain": found - float(score_of(score, before)), "low": low, "high": high}


def draw_groups(groups: Sequence[str], bootstrap: int, seed: int) -> np.ndarray:
    """How often each case is drawn, int `(bootstrap, cases)`: groups are drawn with replacement.

    >>> draw_groups(["a", "a", "b"], 2, 0).shape
    (2, 3)
    """
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=bootstrap)
    return drawn[:, numbers]


def score_runs(counts: Counts, score: str, tta: Sequence[str]) -> list[dict[str, Any]]:
    """`{"run", "tta", "score"}` of each run as it is, which nothing was chosen for."""
    candidates = [Candidate((run,), kind) for run in range(len(counts.runs)) for kind in ("none", *tta)]
    counts.add(candidates)
    return [
        {"run": counts.runs[one.runs[0]].name, "tta": one.tta, "score": float(score_of(score, counts[one]))}
        for one in candidates
    ]


def sizes_to_try(counts: Counts) -> tuple[int, ...]:
    """The minimum sizes that leave something of most cases: below half of the median size of the smallest class.

    Masks that were resized have none: pixels of the files, which predict.py counts, are others.
    """
    kept = counts.kept
    if kept.resized:
        return ()
    true = counts[Candidate((0,))][..., 1]
    medians = [np.median(sizes[sizes > 0]) for sizes in true.T if (sizes > 0).any()]
    return tuple(size for size in SIZES if medians and size < min(medians) / 2)


def possible_steps(counts: Counts, tta: Sequence[str], without: Sequence[str]) -> tuple[str, ...]:
    """The steps that there is something to choose in."""
    possible = {
        "tta": bool(tta),
        "ensemble": len(counts.runs) > 1,
        # They give pixels to the background.
        "thresholds": counts.kept.background,
        "postprocessing": counts.kept.background,
    }
    return tuple(step for step in STEPS if possible.get(step) and step not in without)


def describe_step(counts: Counts, step: str, chosen: Candidate) -> str:
    """What a step chose, in words."""
    if step in (FIRST, "ensemble"):
        return ", ".join(counts.runs[run].name for run in chosen.runs)
    if step == "tta":
        return chosen.tta
    if step == "thresholds":
        return "most likely class" if chosen.thresholds is None else ", ".join(map(str, chosen.thresholds))
    parts = {
        "largest component": chosen.largest,
        "holes filled": chosen.fill_holes,
        f"at least {chosen.minimum_size}": chosen.minimum_size > 0,
    }
    return ", ".join(name for name, there in parts.items() if there) or "none"
