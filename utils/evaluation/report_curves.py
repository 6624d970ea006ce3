"""The learning curves of the report: side by side where there is room, and one below the other on a phone."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig

from utils.base.embedding import embed
from utils.base.learning_curves import PANELS, History, draw_curves, scores_of_classes, sort_into_panels
from utils.base.wording import counted
from utils.checkpoints.paths import log_path, run_label
from utils.checkpoints.training_log import read_history, read_summary
from utils.config.class_names import mask_class_names

NARROW = 4.8  # inches: letters of 8 points are readable on a phone
HIGH, LOW = 3.2, 1.5  # inches, of a panel of losses or scores and of one of the others


def curves_context(cfg: DictConfig, folds: int) -> dict[str, Any]:
    """The curves of the run that trained the weights: what the template needs.

    Returns:
        `curves`: the URL of a picture, None without curves; `narrow_curves`: those of its panels; `curves_title`;
        `why` there are none: a sentence.
    """
    empty: dict[str, Any] = {"curves": None, "narrow_curves": [], "curves_title": ""}
    if folds > 1:
        return {**empty, "why": "Each fold was a training of its own, with its own curves in the checkpoint folder."}
    if history := read_history(cfg):
        best, names = best_epoch(cfg), mask_class_names(cfg)
        epochs = len(next(iter(history.values())))
        marked = f", the best of them {best}" if best else ""
        narrow = []
        for part, height in split_into_panels(history):
            figure = draw_curves(part, best=best, class_names=names)
            figure.set_size_inches(NARROW, height)
            narrow.append(embed(figure))
        return {
            "curves": embed(draw_curves(history, best=best, class_names=names)),
            "narrow_curves": narrow,
            "curves_title": f"{run_label(cfg)}: {counted(epochs, 'epoch')}{marked}",
            "why": None,
        }
    name = log_path(cfg).name
    if not log_path(cfg).exists():
        why = f"The log of the training, {name}, is not there."
    elif cfg.RUN is None:
        why = "These weights are of an earlier version, which did not note the run: whose log this is cannot be known."
    else:
        why = f"{name} has no rows of the run that trained these weights."
    return {**empty, "why": why}


def best_epoch(cfg: DictConfig) -> int | None:
    """The epoch, from 1 on, whose weights were kept; None if the summary of the run does not say it."""
    summary = read_summary(cfg)
    try:
        return int(summary["best"]["epoch"]) if summary["run"] == cfg.RUN else None
    except (ValueError, KeyError, TypeError):  # an interrupted run has none
        return None


def split_into_panels(history: History) -> Iterator[tuple[History, float]]:
    """The logs of each panel of `draw_curves`, and how high it is, inches."""
    for panel, curves in sort_into_panels(history).items():
        logs = {log: values for lines in curves.values() for log, values in lines.items()}
        yield logs, HIGH if panel in PANELS else LOW
    classes = scores_of_classes(history)
    if len(classes) > 1:
        yield {f"val_{score}_class{index}": values for (score, index), values in classes.items()}, HIGH
