"""What a training run leaves of its scores: a CSV log, each row with the id (RUN) of its run, and a summary."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from utils.base.learning_curves import History
from utils.checkpoints.paths import companion_path, log_path, previous_path, weights_path

RUN = "run"  # the column with the id; logs of earlier versions have none


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a log, `{column: text}`; none if there is no such file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_history(cfg: DictConfig) -> History | None:
    """`{log name: values, one per epoch}` of the run that trained the weights of a restored config, and of no other.

    None if no log that can be read has a row of that run: not the one of this name, nor that of the run before.
    """
    for path in (log_path(cfg), previous_path(log_path(cfg))):
        try:
            rows = [row for row in read_rows(path) if cfg.RUN is not None and row.get(RUN) == cfg.RUN]
            history = {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else {}) if name != RUN}
        except (OSError, ValueError, TypeError, KeyError):  # a damaged file
            continue
        if history:
            return history
    return None


def read_best(cfg: DictConfig) -> dict[str, Any]:
    """`{"epoch", "score", "value", "constant_answer"}` of the best epoch, from the summary beside the weights.

    Empty if it is not there or damaged, as a full disk leaves it; summaries of earlier versions have no constant.
    """
    best = read_summary(cfg).get("best")
    return dict(best) if isinstance(best, dict) else {}


def training_seconds(folds: Sequence[DictConfig]) -> float | None:
    """How long the trainings of restored configs took since they were last started; None if one does not say."""
    try:
        return sum(float(read_summary(cfg)["since_last_start"]["seconds"]) for cfg in folds)
    except (KeyError, TypeError, ValueError):
        return None


def read_summary(cfg: DictConfig) -> dict[str, Any]:
    """What `<weights>.run.json` says, empty if it is not there or damaged."""
    try:
        return dict(json.loads(companion_path(weights_path(cfg), ".run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
