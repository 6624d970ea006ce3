"""The part of the report about masks to look at: does the expected Dice tell which are wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from utils.base.embedding import embed
from utils.base.palette import line_color
from utils.evaluation.split_result import SplitResult
from utils.inference.uncertainty.learnt import VOLUME

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def review_context(results: Sequence[SplitResult]) -> dict[str, Any]:
    """What the template needs: `reviews`, (split, kind of cases, what was found, URL of the chart)."""
    return {
        "reviews": [
            (result.split, kind, found, embed(draw_review(result, kind)))
            for result in results
            if result.review
            for kind, found in in_order(result.review["kinds"])
        ]
    }


def in_order(kinds: dict[str, Any]) -> list[tuple[str, Any]]:
    """Volumes first, where there are some: they are the cases."""
    return sorted(kinds.items(), key=lambda item: item[0] != VOLUME)


def review_lines(result: SplitResult) -> list[str]:
    """What the terminal says of it, a line for each kind of cases."""
    lines = []
    for kind, found in in_order(result.review["kinds"]) if result.review else ():
        order = ""
        if found["spearman"] is not None:
            interval = interval_text(found["spearman_interval"])
            order = f", rank correlation with the true Dice {found['spearman']:.3f}{interval}"
        bounds = f"ideal order {found['aurc_ideal']:.4f}, none {found['aurc_random']:.4f}"
        risk = f"risk-coverage area {found['aurc']:.4f} ({bounds})"
        lines.append(f"\nexpected Dice of {found['cases']} {kind}s{order}; {risk}")
        caught = f"the first {found['first_cases']} of the review list hold {found['first_failures']}"
        lines.append(f"  {found['failures']} have a Dice below {found['below']:g}: {caught}{flag_share(found)}")
    return lines


def interval_text(interval: Sequence[float] | None) -> str:
    """A 95 % interval, after its number.

    >>> interval_text([0.25, 0.5]), interval_text(None)
    (' [0.250, 0.500]', '')
    """
    return "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"


def flag_share(found: dict[str, Any]) -> str:
    """How many of the failures are flagged, if a flag was learnt."""
    if "flagged" not in found:
        return ""
    return f"; {found['flagged']} are flagged, {found['flagged_failures']} of them rightly"


def draw_review(result: SplitResult, kind: str) -> Figure:
    """The true against the expected Dice with the curve learnt, and the risk over the coverage."""
    from matplotlib.figure import Figure

    assert result.review is not None
    cases, found = result.reviewed[kind], result.review["kinds"][kind]
    figure = Figure(figsize=(7.5, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    for flagged in (False, True):
        chosen = [case for case, _, flag in cases if bool(flag) == flagged]
        label = "flagged" if flagged else ("not flagged" if "flagged" in found else None)
        left.scatter(
            [case.expected_dice for case in chosen],
            [case.dice for case in chosen],
            s=10,
            alpha=0.6,
            color=line_color(int(flagged)),
            label=label if chosen else None,
        )
    curve = sorted((case.expected_dice, predicted) for case, predicted, _ in cases if predicted is not None)
    if curve:
        left.plot(*zip(*curve, strict=True), color="0.3", linewidth=1, label="predicted Dice")
        left.legend(fontsize=8, frameon=False)
    left.axhline(found["below"], color="0.6", linewidth=0.8, linestyle="--")
    left.set_xlabel("expected Dice", fontsize=8)
    left.set_ylabel("true Dice", fontsize=8)
    points = found["risk_coverage"]
    right.plot([point["coverage"] for point in points], [point["risk"] for point in points], label="expected Dice")
    right.axhline(found["aurc_random"], color="0.6", linewidth=0.8, linestyle="--", label="no order")
    right.set_xlabel(f"share of the {kind}s, the surest first", fontsize=8)
    right.set_ylabel("their mean of 1 - Dice", fontsize=8)
    right.set_ylim(bottom=0)
    right.legend(fontsize=8, frameon=False)
    for axis in (left, right):
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
