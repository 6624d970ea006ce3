"""Print the main scores of an evaluation."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from omegaconf import DictConfig

from utils.evaluation.case_scores import SCORES
from utils.evaluation.split import SplitResult

# Scores of regions that are printed; the report has all.
PRINTED = ("dice_global", "dice_per_case", "volume_error", "hd95_mm", "assd_mm", "surface_dice")
RULE_WIDTH = 70  # characters

Row = tuple[str, list[str], str]  # name, a cell per split, how it averages


def print_results(cfg: DictConfig, results: Sequence[SplitResult], folder: Path) -> None:
    """Print the main scores: a row per score, a column per split, and how each averages."""
    if not cfg.VERBOSE:
        return
    print(f"weights {cfg.MODEL.WEIGHTS_FILE_NAME}")
    print_rows([*count_rows(results), *metric_rows(results), *region_rows(results)])
    for result in results:
        print(f"{result.split}: {result.speed:.1f} images/s, reading included")
    print(f"saved {folder}")
    if (folder / "report.html").exists():
        print(f"open {folder / 'report.html'}")


def print_rows(rows: Sequence[Row]) -> None:
    """Print a table."""
    name_width = max(len(name) for name, _, _ in rows)
    widths = [max(map(len, cells)) for cells in zip(*(cells for _, cells, _ in rows), strict=True)]
    for name, cells, rule in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(f"{name.ljust(name_width)}  {line}  {shorten(rule, RULE_WIDTH, placeholder='...')}".rstrip())


def count_rows(results: Sequence[SplitResult]) -> Iterator[Row]:
    """Splits, images and volumes."""
    yield "", [result.split for result in results], ""
    yield "images", [f"{result.images}" for result in results], ""
    summaries = [result.summary for result in results if result.summary]
    if summaries and summaries[0]["case"] == "volume":
        yield "volumes", [f"{summary['cases']}" for summary in summaries], ""


def metric_rows(results: Sequence[SplitResult]) -> Iterator[Row]:
    """Loss and Keras metrics, without those of single classes."""
    for name, rule in results[0].rules.items():
        if not re.search(r"_class\d+$", name):
            yield name, [f"{result.scores[name]:.4f}" for result in results], rule


def region_rows(results: Sequence[SplitResult]) -> Iterator[Row]:
    """Scores of each region with 95% interval, under their names in evaluation.json."""
    summaries = [result.summary for result in results if result.summary]
    for region in summaries[0]["regions"] if summaries else ():
        regions = [summary["regions"][region] for summary in summaries]
        for score in PRINTED:
            title, rule = SCORES[score]
            if any(score in found for found in regions):
                rule = rule.format(cases=f"{summaries[0]['case']}s")
                yield f"{score}_{region}", [format_score(found.get(score)) for found in regions], f"{title}: {rule}"


def format_score(entry: Mapping[str, Any] | None) -> str:
    """`0.9350 [0.9200, 0.9410]`, the brackets if there is an interval; a dash for a score that nothing defines.

    >>> format_score({"value": 0.5, "low": 0.25, "high": 0.75})
    '0.5000 [0.2500, 0.7500]'
    """
    if entry is None:
        return "-"
    text = f"{entry['value']:.4f}"
    return text if entry["low"] is None else f"{text} [{entry['low']:.4f}, {entry['high']:.4f}]"
