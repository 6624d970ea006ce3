"""Pixels of each class that candidates get right, case by case from kept probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from utils.base.class_bits import in_region
from utils.base.errors import UserError
from utils.base.ignored_classes import known_only
from utils.base.progress import Task
from utils.choice.kept_runs import KeptRun
from utils.evaluation.kept_probabilities import KeptImage
from utils.inference.class_indices import class_indices

COUNTS = 3  # common, true and predicted pixels
MEMORY = 2**28  # bytes of images that are kept between passes


@dataclass(frozen=True)
class Candidate:
    """What could be chosen.

    Attributes:
        runs: numbers of the runs whose probabilities are averaged, ascending.
        tta: PREDICT.TTA.
        thresholds, largest, minimum_size, fill_holes: of PREDICT.POSTPROCESS.
    """

    runs: tuple[int, ...]
    tta: str = "none"
    thresholds: tuple[float, ...] | None = None
    largest: bool = False
    minimum_size: int = 0
    fill_holes: bool = False

    @property
    def postprocesses(self) -> bool:
        """Whether it needs whole masks, of volumes in 3-D."""
        return self.largest or self.minimum_size > 1 or self.fill_holes


class Counts:
    """The pixels of candidates in every case, counted once for each.

    Args:
        runs: of `find_kept_runs`.
        quiet: no progress bar.

    Attributes:
        cases: their names.
        scored: cases x candidates counted so far.
    """

    def __init__(self, runs: Sequence[KeptRun], quiet: bool = True) -> None:
        self.runs, self.kept, self.quiet = runs, runs[0].kept, quiet
        self.cases = list(self.kept.cases)
        self.found: dict[Candidate, np.ndarray] = {}
        self.loaded: dict[Path, dict[str, np.ndarray]] = {}  # images that the next pass need not read again
        self.room = MEMORY
        self.scored = 0

    def __getitem__(self, candidate: Candidate) -> np.ndarray:
        """int64 `(cases, classes, COUNTS)` of a candidate that was counted; classes as `KeptSplit.classes`."""
        return self.found[candidate]

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Count those that are not yet counted, in one pass over the cases, of which one is in memory at a time."""
        missing = [candidate for candidate in dict.fromkeys(candidates) if candidate not in self.found]
        if not missing:
            return
        tables = np.zeros((len(missing), len(self.cases), len(self.kept.classes), COUNTS), np.int64)
        with Task(f"score {len(missing)} choices", len(self.cases), quiet=self.quiet, leave=False) as task:
            for number, case in enumerate(self.cases):
                tables[:, number] = self.count_case(case, missing)
                task.update()
        self.found |= dict(zip(missing, tables, strict=True))
        self.scored += len(missing) * len(self.cases)

    def count_case(self, case: str, candidates: Sequence[Candidate]) -> np.ndarray:
        """int64 `(candidates, classes, COUNTS)` of a case."""
        counts = np.zeros((len(candidates), len(self.kept.classes), COUNTS), np.int64)
        # Before postprocessing many are the same.
        plain = {candidate: before_postprocessing(candidate) for candidate in candidates}
        whole: dict[Candidate, list[np.ndarray]] = {plain[one]: [] for one in candidates if one.postprocesses}
        truths = []
        for images in zip(*(run.kept.cases[case] for run in self.runs), strict=True):
            truth, masks = self.read(case, images, dict.fromkeys(plain.values()))
            for index, candidate in enumerate(candidates):
                if not candidate.postprocesses:
                    counts[index] += self.count(truth, masks[candidate])
            for candidate, labels in whole.items():
                labels.append(masks[candidate])
            if whole:
                truths.append(truth)
        if whole:
            from utils.evaluation.postprocessing import stack_slices

            truth = stack_slices(truths, case)
            stacked = {candidate: np.moveaxis(stack_slices(labels, case), 0, -1) for candidate, labels in whole.items()}
            for index, candidate in enumerate(candidates):
                if candidate.postprocesses:
                    processed = self.postprocess(candidate, stacked[plain[candidate]])
                    counts[index] = self.count(truth, np.moveaxis(processed, -1, 0))
        return counts

    def read(
        self, case: str, images: Sequence[KeptImage], candidates: Iterable[Candidate]
    ) -> tuple[np.ndarray, dict[Candidate, np.ndarray]]:
        """Truth and the labels of each candidate without postprocessing, `(height, width)`, of one image.

        Raises:
            UserError: the truth of the runs differs.
        """
        wanted: dict[int, set[str]] = {}
        for candidate in candidates:
            for run in candidate.runs:
                wanted.setdefault(run, set()).add(candidate.tta)
        found = {run: self.load(images[run], sorted(kinds)) for run, kinds in wanted.items()}
        first = min(found)
        truth = found[first]["truth"]
        for run, arrays in found.items():
            if not np.array_equal(truth, arrays["truth"]):
                names = f"{self.runs[first].name} and {self.runs[run].name}"
                raise UserError(f"{names} have another truth of {case} ({images[0].name}). Evaluate both again.")
        means: dict[tuple[tuple[int, ...], str], np.ndarray] = {}
        masks = {}
        for candidate in candidates:
            key = candidate.runs, candidate.tta
            if key not in means:
                stored = [(images[run], found[run][candidate.tta]) for run in candidate.runs]
                maps = [image.probability(integers, self.kept.channels) for image, integers in stored]
                means[key] = maps[0] if len(maps) == 1 else sum(maps[1:], maps[0]) / np.float32(len(maps))
            masks[candidate] = class_indices(means[key], candidate.thresholds, self.kept.multi_label)
        return truth, masks

    def load(self, image: KeptImage, kinds: Sequence[str]) -> dict[str, np.ndarray]:
        """What `KeptImage.read` returns, from memory if it is there."""
        arrays = self.loaded.get(image.path, {})
        if not arrays.keys() >= set(kinds):
            arrays = {**arrays, **image.read(kinds)}
            known = sum(array.nbytes for array in self.loaded.get(image.path, {}).values())
            added = sum(array.nbytes for array in arrays.values()) - known
            if added <= self.room:
                self.room -= added
                self.loaded[image.path] = arrays
        return arrays

    def postprocess(self, candidate: Candidate, labels: np.ndarray) -> np.ndarray:
        """Labels `(height, width, slices)`, processed as predict.py does it."""
        from utils.inference.postprocessing import each_class, postprocess

        steps = partial(
            postprocess,
            largest=candidate.largest,
            minimum_size=candidate.minimum_size,
            fill_holes=candidate.fill_holes,
        )
        return each_class(steps, self.kept.channels, labels) if self.kept.multi_label else steps(labels)

    def count(self, truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """int64 `(classes, COUNTS)`: common, true and predicted pixels of each class, without those to be ignored."""
        kept = self.kept
        truth, labels = known_only(truth, labels)
        if kept.ignore_label is not None:
            valid = truth != kept.ignore_label
            truth, labels = truth[valid], labels[valid]
        if kept.multi_label:
            pairs = [(in_region(truth, [index], True), in_region(labels, [index], True)) for index in kept.classes]
            return np.array([[(one & two).sum(), one.sum(), two.sum()] for one, two in pairs], np.int64)
        most = len(kept.class_names)
        joint = np.bincount(truth.ravel().astype(np.uint16) * np.uint16(most) + labels.ravel(), minlength=most**2)
        table = joint[: most**2].reshape(most, most)
        return np.stack([table.diagonal(), table.sum(1), table.sum(0)], axis=1)[kept.classes].astype(np.int64)


def before_postprocessing(candidate: Candidate) -> Candidate:
    """The candidate whose masks are not postprocessed.

    >>> before_postprocessing(Candidate((0,), "flips", (0.5,), True, 9, True))
    Candidate(runs=(0,), tta='flips', thresholds=(0.5,), largest=False, minimum_size=0, fill_holes=False)
    """
    return Candidate(candidate.runs, candidate.tta, candidate.thresholds)
