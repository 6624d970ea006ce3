"""Learning curves as a picture, of whatever the logs of a run contain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.base.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Mapping[str, Sequence[float]]  # {log name: values, one per epoch}; validation starts with val_

# Panel -> its relative width. Each log has one, see `panel_of`; panels without logs are left out.
PANELS = {"loss": 3, "score": 3, "learning rate": 2, "gradient norm": 2}
MANY_EPOCHS = 30  # above which single epochs are not marked


def plot_curves(history: History, path: Path) -> None:
    """Write the learning curves of `draw_curves` as a PNG."""
    with atomic_write(path) as temporary:
        draw_curves(history).savefig(temporary, dpi=110)


def draw_curves(history: History) -> Figure:
    """Draw losses, scores and learning rates over epochs, of training (solid) and validation (dashed).

    Example:
        >>> figure = draw_curves({"loss": [2.0, 1.0], "val_loss": [3.0, 2.0], "dice": [0.1, 0.4]})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['loss', 'score']
    """
    from matplotlib.figure import Figure

    curves: dict[str, dict[str, History]] = {panel: {} for panel in PANELS}
    for log in history:
        name = log.removeprefix("val_")
        panel = panel_of(name)
        if panel is not None:
            curves[panel].setdefault(name, {key: history[key] for key in (name, f"val_{name}") if key in history})
    shown = [panel for panel in PANELS if curves[panel]]
    figure = Figure(figsize=(14, 4), layout="constrained")
    if shown:
        grid = figure.subplots(1, len(shown), width_ratios=[PANELS[panel] for panel in shown], squeeze=False)
        for axes, panel in zip(grid[0], shown, strict=True):
            draw_panel(axes, panel, curves[panel])
    return figure


def panel_of(name: str) -> str | None:
    """The panel of a log; None for the number of the epoch and for scores of single classes, of which there are many.

    >>> [panel_of(name) for name in ("loss", "dice_coef", "dice_class1", "learning_rate")]
    ['loss', 'score', None, 'learning rate']
    """
    if name == "epoch" or re.search(r"_class\d+$", name):
        return None
    if name == "loss" or name.endswith("_loss"):
        return "loss"
    if name == "gradient_norm":
        return "gradient norm"
    return "learning rate" if name.endswith("learning_rate") else "score"


def draw_panel(axes: Axes, panel: str, curves: Mapping[str, History]) -> None:
    """Draw some logs, each with its validation in the same colour."""
    for number, (name, lines) in enumerate(curves.items()):
        for log, values in lines.items():
            validation = log != name
            axes.plot(
                range(1, len(values) + 1),
                values,
                "--" if validation else "-",
                color=f"C{number}",
                marker="." if len(values) < MANY_EPOCHS else "",
                label=f"{name} ({'validation' if validation else 'training'})",
            )
    axes.set_xlabel("epoch")
    axes.set_ylabel(panel)
    axes.grid(alpha=0.3)
    if panel != "learning rate":
        axes.legend()
    values = [value for lines in curves.values() for line in lines.values() for value in line]
    if panel == "score" and not any(value < 0 or value > 1 for value in values):  # NaN is neither
        axes.set_ylim(0, 1.02)
