"""Learning curves as a picture, of whatever the logs of a run contain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.base.files import atomic_write
from utils.base.palette import class_color, hex_color, line_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

History = Mapping[str, Sequence[float]]  # {log name: values, one per epoch}; validation starts with val_

PANELS = ("loss", "score")  # side by side, and beside them the scores of each class
STRIPS = ("learning rate", "gradient norm", "seconds per epoch")  # low, below the panels
OF_CLASSES = "validation score of each class"
MANY_EPOCHS = 30  # above which single epochs are not marked
LOG_OF_CLASS = re.compile(r"val_(\w+)_class(\d+)")


def plot_curves(
    history: History, path: Path, title: str = "", best: int | None = None, class_names: Sequence[str] = ()
) -> None:
    """Write the learning curves of `draw_curves` as a PNG."""
    with atomic_write(path) as temporary:
        draw_curves(history, title, best, class_names).savefig(temporary, dpi=110)


def draw_curves(history: History, title: str = "", best: int | None = None, class_names: Sequence[str] = ()) -> Figure:
    """Draw losses and scores over epochs, of training (solid) and validation (dashed); the other logs in strips below.

    Args:
        title: above all.
        best: the number of the best epoch, from 1, which is marked.
        class_names: of the classes from 0 on; empty if they are not known.

    Example:
        >>> figure = draw_curves({"loss": [2.0, 1.0], "val_loss": [3.0, 2.0], "dice": [0.1, 0.4]})
        >>> [axes.get_title() for axes in figure.axes]
        ['loss', 'score']
    """
    from matplotlib.figure import Figure

    curves = sort_into_panels(history)
    classes = scores_of_classes(history)
    panels = [name for name in PANELS if curves.get(name)] + ([OF_CLASSES] if len(classes) > 1 else [])
    strips = [name for name in STRIPS if curves.get(name)]
    figure = Figure(figsize=(14, 5.4 if strips else 4.8), layout="constrained")
    figure.suptitle(title, fontsize=11)
    rows = [(names, height) for names, height in ((panels, 4), (strips, 1)) if names]
    parts = figure.subfigures(max(1, len(rows)), 1, height_ratios=[height for _, height in rows] or None, squeeze=False)
    for part, (names, _) in zip(parts[:, 0], rows, strict=False):
        for axes, name in zip(part.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            if name == OF_CLASSES:
                draw_classes(axes, classes, class_names, best)
            else:
                draw_panel(axes, name, curves[name])
            finish(axes, best, is_strip=name in STRIPS)
    return figure


def sort_into_panels(history: History) -> dict[str, dict[str, History]]:
    """`{panel: {log: that of training and that of validation}}`."""
    curves: dict[str, dict[str, History]] = {}
    for log in history:
        name = log.removeprefix("val_")
        panel = panel_of(name)
        if panel is not None:
            both = {key: history[key] for key in (name, f"val_{name}") if key in history}
            curves.setdefault(panel, {}).setdefault(name, both)
    return curves


def panel_of(name: str) -> str | None:
    """The panel of a log; None for the number of the epoch and for scores of single classes, which have their own.

    >>> [panel_of(name) for name in ("loss", "dice_coef", "dice_class1", "learning_rate")]
    ['loss', 'score', None, 'learning rate']
    """
    if name == "epoch" or re.search(r"_class\d+$", name):
        return None
    if name == "loss" or name.endswith("_loss"):
        return "loss"
    named = {"gradient_norm": "gradient norm", "seconds": "seconds per epoch"}
    return named.get(name, "learning rate" if name.endswith("learning_rate") else "score")


def scores_of_classes(history: History) -> dict[tuple[str, int], Sequence[float]]:
    """`{(score, class): values}` of validation, of the first score that the log has for each class, such as Dice.

    >>> scores_of_classes({"val_dice_class1": [0.5], "val_dice_class2": [0.1], "val_iou_class1": [0.3]})
    {('dice', 1): [0.5], ('dice', 2): [0.1]}
    """
    found = {(match[1], int(match[2])): history[log] for log in history if (match := LOG_OF_CLASS.fullmatch(log))}
    first = next(iter(found), ("", 0))[0]
    return {key: found[key] for key in sorted(found, key=lambda key: key[1]) if key[0] == first}


def draw_panel(axes: Axes, panel: str, curves: Mapping[str, History]) -> None:
    """Draw some logs, each with its validation in the same colour."""
    for number, (name, lines) in enumerate(curves.items()):
        for log, values in lines.items():
            validation = log != name
            label = f"{name} ({'validation' if validation else 'training'})"
            draw_line(axes, values, line_color(number), "--" if validation else "-", label)
    axes.set_title(panel, fontsize=10)
    if panel in PANELS:  # below, where it hides no line; its columns are training and validation
        handles = sorted(axes.get_lines(), key=lambda line: line.get_linestyle() == "--")
        axes.legend(
            handles=handles, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False
        )
    values = [value for lines in curves.values() for line in lines.values() for value in line]
    if panel == "score" and not any(value < 0 or value > 1 for value in values):  # NaN is neither
        axes.set_ylim(0, 1.02)
    if panel == "seconds per epoch":
        axes.set_ylim(0, 1.2 * max((value for value in values if value > 0), default=1))


def draw_classes(
    axes: Axes, classes: Mapping[tuple[str, int], Sequence[float]], class_names: Sequence[str], best: int | None
) -> None:
    """Draw the validation score of each class in its colour of all pictures, with a dark rim to be seen on white.

    The legend has the scores of the best epoch, as the weights have them; of the last one if none is known.
    """
    from matplotlib.patheffects import Normal, Stroke

    for (_, index), values in classes.items():
        name = class_names[index] if index < len(class_names) else f"class{index}"
        color = "black" if name == "background" else hex_color(class_color(index))
        line = draw_line(axes, values, color, "-", f"{name} {values[(best or 0) - 1]:.3f}")
        line.set_path_effects([Stroke(linewidth=line.get_linewidth() + 1.2, foreground="0.25"), Normal()])
    score = next(iter(classes))[0]
    axes.set_title(f"{score} of each class (validation)", fontsize=10)
    shown = f"epoch {best or len(next(iter(classes.values())))}"
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, title=shown, title_fontsize=8)
    axes.set_ylim(0, 1.02)


def draw_line(axes: Axes, values: Sequence[float], color: str, style: str, label: str) -> Line2D:
    """Draw values over epochs, from 1 on."""
    marker = "." if len(values) < MANY_EPOCHS else ""
    (line,) = axes.plot(range(1, len(values) + 1), values, style, color=color, marker=marker, label=label)
    return line


def finish(axes: Axes, best: int | None, is_strip: bool) -> None:
    """Grid, whole numbers of epochs, and a line at the best epoch."""
    from matplotlib.ticker import MaxNLocator

    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    if best is not None:
        axes.axvline(best, color="0.4", linestyle=":", linewidth=1.2)
    if is_strip:
        axes.title.set_fontsize(9)
        return
    axes.set_xlabel("epoch", fontsize=9)
    if best is not None:
        left = best > sum(axes.get_xlim()) / 2  # the text stays within the panel
        axes.annotate(
            f"best: {best}", (best, 1), xycoords=("data", "axes fraction"), xytext=(-3 if left else 3, -2), va="top",
            ha="right" if left else "left", textcoords="offset points", fontsize=8, color="0.3",
        )  # fmt: skip
