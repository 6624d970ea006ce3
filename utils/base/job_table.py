"""The table that ends a sweep: the jobs, the best first; or the folds, then their mean and standard deviation."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from utils.base.terminal import make_table

if TYPE_CHECKING:
    from rich.table import Table

Row = tuple[str, list[float | None]]  # name of a job, its scores


def fold_table(columns: Sequence[str], rows: Sequence[Row], constants: Sequence[Row] = ()) -> "Table":
    """The folds in their order, then mean ± standard deviation of each column, then that of `line_of_constants`.

    >>> from utils.base.terminal import render
    >>> print(render(fold_table(["dice"], [("fold 0", [0.5]), ("fold 1", [0.7])])))
               dice
    ──────────────────────────
    fold 0     0.5000
    fold 1     0.7000
    mean ± SD  0.6000 ± 0.1414
    """
    spread = ["mean ± SD", *(mean_and_deviation(column) for column in zip(*(row[1] for row in rows), strict=True))]
    shown = [[name, *map(number, scores)] for name, scores in rows]
    return make_table(["", *columns], [*shown, spread, *line_of_constants(constants)])


def job_table(
    columns: Sequence[str], rows: Iterable[Row], higher_is_better: bool = True, constants: Sequence[Row] = ()
) -> "Table":
    """The jobs, the best first score above, one that is not defined last; below them `line_of_constants`."""
    sign = -1 if higher_is_better else 1

    def rank(row: Row) -> float:
        score = row[1][0]
        return math.inf if score is None or score != score else sign * score

    shown = [[name, *map(number, scores)] for name, scores in sorted(rows, key=rank)]
    return make_table(["", *columns], [*shown, *line_of_constants(constants)])


def line_of_constants(constants: Sequence[Row]) -> list[list[str]]:
    """What the best constant answers score, one for each job or fold, as at most one row: mean ± SD if they differ.

    >>> line_of_constants([("a", [0.25, None]), ("b", [0.25, None])])
    [['constant answer', '0.2500', '-']]
    >>> line_of_constants([("a", [None])])
    []
    """
    cells = []
    for column in zip(*(scores for _, scores in constants), strict=True):
        shown = set(map(number, column))
        cells.append(shown.pop() if len(shown) == 1 else mean_and_deviation(column))
    return [["constant answer", *cells]] if set(cells) - {"-"} else []


def mean_and_deviation(values: Iterable[float | None]) -> str:
    """`0.6000 ± 0.1414`: mean and standard deviation (n - 1) of the values that are defined."""
    defined = [value for value in values if value is not None and value == value]
    if len(defined) < 2:
        return number(defined[0] if defined else None)
    return f"{statistics.mean(defined):.4f} ± {statistics.stdev(defined):.4f}"


def number(value: float | None) -> str:
    """Four digits, a dash for what is not defined."""
    return "-" if value is None or value != value else f"{value:.4f}"
