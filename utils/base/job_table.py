"""The table that ends a sweep: the jobs, the best first; or the folds, then their mean and standard deviation."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from utils.base.terminal import make_table

if TYPE_CHECKING:
    from rich.table import Table

Row = tuple[str, list[float | None]]  # name of a job, its scores


def fold_table(columns: Sequence[str], rows: Sequence[Row]) -> "Table":
    """The folds in their order, then mean ± standard deviation of each column.

    >>> from utils.base.terminal import render
    >>> print(render(fold_table(["dice"], [("fold 0", [0.5]), ("fold 1", [0.7])])))
               dice
    ──────────────────────────
    fold 0     0.5000
    fold 1     0.7000
    mean ± SD  0.6000 ± 0.1414
    """
    spread = ["mean ± SD", *(mean_and_deviation(column) for column in zip(*(row[1] for row in rows), strict=True))]
    return make_table(["", *columns], [*([name, *map(number, scores)] for name, scores in rows), spread])


def job_table(columns: Sequence[str], rows: Iterable[Row], higher_is_better: bool = True) -> "Table":
    """The jobs, those with the best first score above; one whose score is not defined comes last."""
    sign = -1 if higher_is_better else 1

    def rank(row: Row) -> float:
        score = row[1][0]
        return math.inf if score is None or score != score else sign * score

    return make_table(["", *columns], [[name, *map(number, scores)] for name, scores in sorted(rows, key=rank)])


def mean_and_deviation(values: Iterable[float | None]) -> str:
    """`0.6000 ± 0.1414`: mean and standard deviation (n - 1) of the values that are defined."""
    defined = [value for value in values if value is not None and value == value]
    if len(defined) < 2:
        return number(defined[0] if defined else None)
    return f"{statistics.mean(defined):.4f} ± {statistics.stdev(defined):.4f}"


def number(value: float | None) -> str:
    """Four digits, a dash for what is not defined."""
    return "-" if value is None or value != value else f"{value:.4f}"
