"""The part of the report about masks to look at: does the expected Dice tell which are wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from utils.base.embedding import embed
from utils.base.palette import line_color
from utils.base.wording import counted
from utils.evaluation.selective import is_useless
from utils.evaluation.split_result import SplitResult
from utils.inference.uncertainty.learnt import VOLUME

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def review_context(results: Sequence[SplitResult]) -> dict[str, Any]:
    """What the template needs: `reviews`, (split, kind of cases, what was found, a warning or None, URLs of
    the chart, broad and slim)."""
    return {
        "reviews": [
            (result.split, kind, found, warning, review_pictures(result, kind))
            for result in results
            if result.review
            for kind, found in in_order(result.review["kinds"])
            for warning in (useless_text(kind) if is_useless(found) else None,)
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
        lines.append(f"\nexpected Dice of {counted(found['cases'], kind)}{order}; {risk}")
        caught = f"the first {found['first_cases']} of the review list hold {found['first_failures']}"
        lines.append(f"  {found['failures']} have a Dice below {found['below']:g}: {caught}{flag_share(found)}")
        if is_useless(found):
            lines.append(f"  {useless_text(kind)}")
    return lines


def useless_text(kind: str) -> str:
    """What is said of an order that may be none."""
    return (
        f"this order of {kind}s may be as good as none (the rank correlation may be 0 or less): do not rely on the "
        "review list or its flags"
    )


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


def review_pictures(result: SplitResult, kind: str) -> dict[str, str]:
    """URLs of the chart of a kind of cases, for a screen and for a phone."""
    return {"broad": embed(draw_review(result, kind)), "slim": embed(draw_review(result, kind, slim=True))}


def draw_review(result: SplitResult, kind: str, slim: bool = False) -> Figure:
    """The true against the expected Dice with the curve learnt, and the risk over the coverage; `slim`: one below the
    other, for a phone."""
    from matplotlib.figure import Figure

    assert result.review is not None
    cases, found = result.reviewed[kind], result.review["kinds"][kind]
    figure = Figure(figsize=(4.4, 6.2) if slim else (7.5, 3.1), layout="constrained")
    left, right = figure.subplots(2, 1) if slim else figure.subplots(1, 2)
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
    coverage = [point["coverage"] for point in points]
    right.axhline(found["aurc_random"], color="0.4", linewidth=1, linestyle="--", label="no order")
    right.plot(coverage, [point["risk"] for point in points], color=line_color(0), label="expected Dice")
    right.plot(coverage, [point["ideal"] for point in points], ":", color=line_color(2), label="ideal order")
    right.set_xlabel(f"share of the {kind}s, the surest first", fontsize=8)
    right.set_ylabel("their mean of 1 - Dice", fontsize=8)
    right.set_ylim(bottom=0)
    right.legend(fontsize=8, frameon=False)
    for axis in (left, right):
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
