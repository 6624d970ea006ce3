"""How several raters agree with each other, and a prediction with each of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from omegaconf import DictConfig

from losses.count_scores import confusion_of_masks
from utils.base.classes import is_multi_label, number_of_classes
from utils.config.class_names import has_background
from utils.evaluation.case_scores import ScoredCase, find_regions, score_set
from utils.evaluation.mask_files import FolderMasks

PREDICTION = "prediction"


class Raters:
    """Collects the counts of every two masks of each case.

    Args:
        cfg: checked config.
        truths: the masks of each rater.
    """

    def __init__(self, cfg: DictConfig, truths: Sequence[FolderMasks]) -> None:
        self.classes, self.multi_label = number_of_classes(cfg), is_multi_label(cfg)
        self.ignore_label = cfg.DATASET.IGNORE_LABEL
        self.regions = find_regions(self.classes, has_background(cfg))
        self.bootstrap, self.seed = cfg.EVALUATION.BOOTSTRAP, cfg.SEED
        self.names = [f"rater {number}" for number in range(1, len(truths) + 1)]
        self.keys = {name: masks.key for name, masks in zip(self.names, truths, strict=True)}
        self.cases: dict[tuple[str, str], list[ScoredCase]] = {}

    def add(self, name: str, votes: np.ndarray, predicted: np.ndarray, is_volume: bool) -> None:
        """Add a case: masks `(raters, slices, rows, columns)`, and the predicted `(slices, rows, columns)`."""
        masks = dict(zip([*self.names, PREDICTION], [*votes, predicted], strict=True))
        for one, other in combinations(masks, 2):
            truth, found = masks[one], masks[other]
            if self.ignore_label is not None:  # what either ignores does not count
                truth = np.where(found == self.ignore_label, self.ignore_label, truth).astype(np.uint8)
            confusion = confusion_of_masks(truth, found, self.classes, self.ignore_label, self.multi_label)
            case = ScoredCase(name, confusion, volume=name if is_volume else None)
            self.cases.setdefault((one, other), []).append(case)

    def result(self) -> dict[str, Any]:
        """`{"masks": {rater: key}, "pairs": [{"one", "other", "regions": of score_set}], "mean_dice_per_case": ...}`.

        mean_dice_per_case: {region: {"between raters", "prediction and raters": mean over the pairs, None without}}.
        """
        pairs = []
        for (one, other), cases in self.cases.items():
            regions = score_set(cases, self.regions, self.bootstrap, self.seed)
            pairs.append({"one": one, "other": other, "regions": regions})
        means = {
            region: {
                title: self.mean([pair for pair in pairs if (pair["other"] == PREDICTION) == of_prediction], region)
                for title, of_prediction in (("between raters", False), ("prediction and raters", True))
            }
            for region in self.regions
        }
        return {"masks": self.keys, "pairs": pairs, "mean_dice_per_case": means}

    @staticmethod
    def mean(pairs: Sequence[dict[str, Any]], region: str) -> float | None:
        """Mean Dice per case over pairs of masks; None where no pair defines it."""
        found = [
            pair["regions"][region]["dice_per_case"]["value"]
            for pair in pairs
            if "dice_per_case" in pair["regions"][region]
        ]
        return float(np.mean(found)) if found else None
