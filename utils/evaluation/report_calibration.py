"""The reliability diagram of the report: how often pixels of some confidence are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from losses.calibration import BINS, Calibration, calibration_error
from utils.base.embedding import embed
from utils.base.palette import line_color
from utils.base.wording import cut
from utils.config.class_names import mask_class_names
from utils.evaluation.split_result import SplitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {"all": "all pixels", "foreground": "foreground"}
SHOWN = ("ece", "ece_foreground", "brier", "brier_foreground", "nll", "nll_foreground")
PRINTED = ("ece", "ece_foreground", "nll")  # in the terminal
BROAD, SLIM = 4, 2  # panels beside each other, on a screen and on a phone
AFTER, BEFORE = line_color(0), line_color(1)


def calibration_context(cfg: DictConfig, results: Sequence[SplitResult]) -> dict[str, Any]:
    """What the template needs: `calibrations`, what was measured of each split that has probabilities.

    An entry has the `split`; `rows`, (score, its value, that before the temperature or None); the URLs of the diagrams,
    `broad` and `slim`.
    """
    return {
        "calibrations": [
            {"split": result.split, "rows": rows_of(after, before)}
            | {
                name: embed(draw_reliability(after, mask_class_names(cfg), before, columns))
                for name, columns in (("broad", BROAD), ("slim", SLIM))
            }
            for result in results
            if result.evaluator and (after := result.evaluator.calibration)
            for before in (result.evaluator.uncalibrated,)
        ]
    }


def rows_of(after: Calibration, before: Calibration | None) -> list[tuple[str, float, float | None]]:
    """The main scores; those of classes stand above their curves."""
    found, earlier = after.results(), before.results() if before else {}
    return [(name, found[name], earlier.get(name)) for name in SHOWN if name in found]


def calibration_lines(result: SplitResult) -> list[str]:
    """What the terminal says where a temperature was applied."""
    evaluator = result.evaluator
    if not evaluator or not evaluator.calibration or not evaluator.uncalibrated:
        return []
    rows = rows_of(evaluator.calibration, evaluator.uncalibrated)
    texts = [f"{name} {value:.4f} (before {before:.4f})" for name, value, before in rows if name in PRINTED]
    return [f"\ncalibrated: {', '.join(texts)}"]


def reliability_bins(calibration: Calibration) -> dict[str, list[dict[str, float | None]]]:
    """The bins of each group as in `evaluation.json`: pixels, mean confidence, share of right."""
    return {
        group: [
            {
                "pixels": int(pixels),
                "confidence": float(confidence / pixels) if pixels else None,
                "right": float(right / pixels) if pixels else None,
            }
            for pixels, confidence, right in bins
        ]
        for group, bins in calibration.bins.items()
    }


def draw_reliability(
    calibration: Calibration, class_names: Sequence[str], before: Calibration | None = None, columns: int = BROAD
) -> Figure:
    """A panel for all pixels, the foreground and each class: a curve on the diagonal is calibrated.

    Below each is the share of the pixels in each bin.

    Args:
        class_names: of the classes from 0 on.
        before: the same pixels before a temperature was applied.
        columns: panels beside each other.
    """
    from matplotlib.figure import Figure

    curves = [(calibration, AFTER, "calibrated" if before else "network", "o-")]
    curves += [(before, BEFORE, "before", "s--")] if before else []
    groups = [group for group, bins in calibration.bins.items() if bins[:, 0].sum()]
    rows = -(-len(groups) // columns) or 1
    columns = -(-len(groups) // rows) or 1
    figure = Figure(figsize=(2.4 * columns, 3.2 * rows + 0.3), layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3, 1] * rows)
    for place, group in enumerate(groups):
        row, column = divmod(place, columns)
        upper, lower = axes[2 * row, column], axes[2 * row + 1, column]
        upper.plot([0, 1], [0, 1], ":", color="gray", linewidth=1)
        errors = []
        for found, color, label, style in curves:
            pixels, confidence, right = found.bins[group].T
            filled = pixels > 0
            places = confidence[filled] / pixels[filled], right[filled] / pixels[filled]
            upper.plot(*places, style, color=color, markersize=3, linewidth=1.2, label=label)
            lower.stairs(pixels / max(pixels.sum(), 1), np.linspace(0, 1, BINS + 1), color=color, linewidth=1.2)
            errors.append(f"{calibration_error(found.bins[group]):.4f}")
        name = TITLES.get(group) or cut(class_names[int(group.removeprefix("class"))])
        upper.set_title(f"{name}\nECE {', before '.join(errors)}", fontsize=9)
        upper.set_ylim(0, 1)
        upper.set_ylabel("share right" if group in TITLES else "share of class", fontsize=9)
        lower.set_ylabel("pixels", fontsize=9)
        lower.set_xlabel("confidence" if group in TITLES else "probability", fontsize=9)
        lower.set_ylim(0, 1)
        lower.set_yticks([0, 1])
        for axis in (upper, lower):
            axis.set_xlim(0, 1)
            axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        upper.tick_params(labelbottom=False)
    for place in range(len(groups), rows * columns):
        row, column = divmod(place, columns)
        axes[2 * row, column].set_visible(False)
        axes[2 * row + 1, column].set_visible(False)
    if before and groups:
        handles = axes[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    return figure
