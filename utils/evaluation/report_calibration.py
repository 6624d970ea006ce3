"""The reliability diagram of the report: how often pixels of some confidence are right."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from losses.calibration import BINS, Calibration, calibration_error
from utils.base.embedding import embed
from utils.config.class_names import mask_class_names
from utils.evaluation.split_result import SplitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {"all": "all pixels", "foreground": "foreground in truth or prediction"}
COLUMNS = 4


def calibration_context(cfg: DictConfig, results: Sequence[SplitResult]) -> dict[str, Any]:
    """What the template needs: `calibrations`, (split, scores, URL of the diagram) of each split that has one."""
    found = [
        (result.split, result.evaluator.calibration)
        for result in results
        if result.evaluator and result.evaluator.calibration
    ]
    return {
        "calibrations": [
            (split, calibration.results(), embed(draw_reliability(calibration, mask_class_names(cfg))))
            for split, calibration in found
        ]
    }


def reliability(bins: np.ndarray) -> list[dict[str, float | None]]:
    """Bins of `losses.calibration.count_bins` as in `evaluation.json`: pixels, mean confidence, share of right."""
    return [
        {
            "pixels": int(pixels),
            "confidence": float(confidence / pixels) if pixels else None,
            "right": float(right / pixels) if pixels else None,
        }
        for pixels, confidence, right in bins
    ]


def draw_reliability(calibration: Calibration, class_names: Sequence[str]) -> "Figure":
    """A panel for all pixels, the foreground and each class: bars that end on the diagonal are calibrated.

    The line is the share of the pixels in each bin.
    """
    from matplotlib.figure import Figure

    groups = [group for group, bins in calibration.bins.items() if bins[:, 0].sum()]
    columns, rows = min(len(groups), COLUMNS) or 1, -(-len(groups) // COLUMNS) or 1
    figure = Figure(figsize=(max(2.7 * columns, 5.5), 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, group in zip(axes, groups, strict=False):
        pixels, confidence, right = calibration.bins[group].T
        filled = pixels > 0
        heights = right[filled] / pixels[filled]
        centres = (np.arange(BINS)[filled] + 0.5) / BINS
        axis.bar(centres, heights, 1 / BINS, color="tab:blue", edgecolor="white", linewidth=0.5)
        axis.plot(confidence[filled] / pixels[filled], heights, ".", color="black", markersize=4)
        axis.plot([0, 1], [0, 1], "--", color="gray", linewidth=1)
        axis.step((np.arange(BINS) + 0.5) / BINS, pixels / pixels.sum(), where="mid", color="tab:orange", linewidth=1)
        name = TITLES.get(group) or class_names[int(group.removeprefix("class"))]
        axis.set_title(f"{name}\nECE {calibration_error(calibration.bins[group]):.4f}", fontsize=9)
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_xlabel("confidence" if group in TITLES else "probability", fontsize=8)
        axis.set_ylabel("share right" if group in TITLES else "share of the class", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(groups) :]:
        axis.set_visible(False)
    return figure
