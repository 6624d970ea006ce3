"""Draw the learning curves of several runs in one figure.

    python -m utils.training.compare_curves checkpoint/training_logs_a.csv checkpoint/training_logs_b.csv

Each loss and score that a log has gets a panel, each run a colour; training is solid, validation dashed.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.base.closed_output import survive_closed_output
from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.base.learning_curves import MANY_EPOCHS, PANELS, STRIPS, History, panel_of
from utils.base.palette import line_color
from utils.base.text_files import read_csv
from utils.checkpoints.training_log import RUN
from utils.config.command import fail

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3  # panels side by side
PREFIX = "training_logs_"  # of the CSV logs of training


def read_log(path: Path) -> History:
    """The CSV log of a run: `{log name: values, one per epoch}`; an empty cell is NaN.

    Of several runs in one log, the last.

    Raises:
        UserError: it cannot be read, or is not the log of a training.
    """
    rows = read_csv(path)
    names = rows[0].cells if rows else []
    if "epoch" not in names or "loss" not in names or len(rows) < 2:
        raise UserError(f"{path}: is not the log of a training: it needs columns epoch and loss, and a row per epoch.")
    history: dict[str, list[float]] = {name: [] for name in names if name != RUN}
    last = dict(zip(names, rows[-1].cells, strict=False)).get(RUN)
    for row in rows[1:]:
        try:
            cells = dict(zip(names, row.cells, strict=True))
            if cells.pop(RUN, None) == last:
                for name, cell in cells.items():
                    history[name].append(float(cell or "nan"))
        except ValueError:
            raise UserError(f"{row.where}: is not a row of numbers for the {len(names)} columns of the log.") from None
    return history


def name_runs(paths: Sequence[Path]) -> list[str]:
    """The names of the runs; where two logs are called the same, their paths.

    >>> name_runs([Path("checkpoint/training_logs_a.csv"), Path("checkpoint/training_logs_b.csv")])
    ['a', 'b']
    """
    names = [path.stem.removeprefix(PREFIX) for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def draw_runs(runs: Mapping[str, History], colors: Mapping[str, str] | None = None, columns: int = COLUMNS) -> "Figure":
    """Draw several runs over epochs, a panel for each loss, score and rate that any of them has.

    Args:
        runs: `{name of the run: {log name: values, one per epoch}}`; logs of validation start with `val_`.
        colors: `{name of the run: its colour}`; None for those of `line_color` in order.
        columns: panels beside each other; one for a phone.

    Example:
        >>> runs = {"a": {"loss": [2.0, 1.0], "val_loss": [3.0, 2.0]}, "b": {"loss": [2.0], "dice": [0.4]}}
        >>> [axes.get_title() for axes in draw_runs(runs).axes]
        ['loss', 'dice']
    """
    from matplotlib.figure import Figure

    colors = colors or {run: line_color(number) for number, run in enumerate(runs)}
    names = {log.removeprefix("val_"): None for history in runs.values() for log in history}
    panels = [name for kind in (*PANELS, *STRIPS) for name in names if panel_of(name) == kind]
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(14 * columns / COLUMNS, 3.6 * lines + 0.5), layout="constrained")
    for number, name in enumerate(panels, 1):
        draw_panel(figure.add_subplot(lines, min(columns, len(panels)), number), name, runs, colors)
    handles = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4 if columns > 1 else 1)
    return figure


def draw_panel(axes: "Axes", name: str, runs: Mapping[str, History], colors: Mapping[str, str]) -> None:
    """Draw one loss or score of all runs."""
    for run, history in runs.items():
        for log, style, kind in ((name, "-", "training"), (f"val_{name}", "--", "validation")):
            if log in history:
                epochs = range(1, len(history[log]) + 1)
                marker = "." if len(epochs) < MANY_EPOCHS else ""
                axes.plot(epochs, history[log], style, color=colors[run], marker=marker, label=f"{run} ({kind})")
    axes.set_title(name)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)


@survive_closed_output()
def main(arguments: Sequence[str] | None = None) -> None:
    """The command; `arguments` as typed, None for those of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.training.compare_curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("logs", nargs="+", type=Path, help="CSV logs of training runs")
    parser.add_argument(
        "--output", type=Path, default=Path("curves.png"), help="the picture, PNG, PDF or SVG (default curves.png)"
    )
    chosen = parser.parse_args(arguments)
    try:
        figure = draw_runs(dict(zip(name_runs(chosen.logs), map(read_log, chosen.logs), strict=True)))
        with atomic_write(chosen.output) as temporary:
            figure.savefig(temporary, dpi=110, format=chosen.output.suffix[1:] or "png")
    except UserError as error:
        fail(str(error))
    except (OSError, ValueError) as error:
        fail(f"{chosen.output}: the picture cannot be written: {error}.")
    print(f"saved {chosen.output}")


if __name__ == "__main__":
    main()
