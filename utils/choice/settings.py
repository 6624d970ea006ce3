"""A choice as settings of predict.py: a file for +experiment=best, and what to type."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from utils.checkpoints.paths import ENDING
from utils.choice.counts import Candidate
from utils.choice.kept_runs import KeptRun
from utils.config.overrides import PLAIN, command_line, hydra_text, text_override

NAME = "best"  # of the experiment, and of the folder of predictions of an ensemble


def settings_of(chosen: Candidate, runs: Sequence[KeptRun]) -> dict[str, Any]:
    """The settings of predict.py, as nested groups; only those of the weights and of PREDICT."""
    weights = [path for run in chosen.runs for path in runs[run].kept.weights]
    folder = Path(os.path.commonpath([path.parent for path in weights]))
    names = [str(path.relative_to(folder)).removesuffix(ENDING) for path in weights]
    return {
        "CALLBACKS": {"MODEL_CHECKPOINT": {"PATH": str(folder)}},
        "MODEL": {"WEIGHTS_FILE_NAME": names[0] if len(names) == 1 else NAME},
        "PREDICT": {
            "ENSEMBLE": None if len(names) == 1 else names,
            "TTA": chosen.tta,
            "POSTPROCESS": {
                "THRESHOLDS": None if chosen.thresholds is None else list(chosen.thresholds),
                "LARGEST": chosen.largest,
                "MINIMUM_SIZE": chosen.minimum_size,
                "FILL_HOLES": chosen.fill_holes,
            },
        },
    }


def experiment_text(settings: dict[str, Any], command: str) -> str:
    """The experiment file with these settings."""
    body = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return f"# @package _global_\n# Written by {' '.join(command.split())}\n{body}"


def predict_command(settings: dict[str, Any]) -> str:
    """What to type to predict with these settings; defaults are left out.

    >>> plain = {"THRESHOLDS": None, "LARGEST": True, "MINIMUM_SIZE": 0, "FILL_HOLES": False}
    >>> predict = {"ENSEMBLE": ["fold0/m", "fold1/m"], "TTA": "none", "POSTPROCESS": plain}
    >>> model = {"MODEL": {"WEIGHTS_FILE_NAME": "best"}, "CALLBACKS": {"MODEL_CHECKPOINT": {"PATH": "/runs"}}}
    >>> print(predict_command({**model, "PREDICT": predict}).replace(" ", "\\n"))
    python
    predict.py
    PREDICT.INPUT=FOLDER
    CALLBACKS.MODEL_CHECKPOINT.PATH=/runs
    MODEL.WEIGHTS_FILE_NAME=best
    'PREDICT.ENSEMBLE=[fold0/m,fold1/m]'
    PREDICT.POSTPROCESS.LARGEST=True
    """
    predict, folder = settings["PREDICT"], Path(settings["CALLBACKS"]["MODEL_CHECKPOINT"]["PATH"])
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    words = ["PREDICT.INPUT=FOLDER"]
    if str(shown) != "checkpoint":
        words.append(text_override("CALLBACKS.MODEL_CHECKPOINT.PATH", str(shown)))
    words.append(text_override("MODEL.WEIGHTS_FILE_NAME", settings["MODEL"]["WEIGHTS_FILE_NAME"]))
    if predict["ENSEMBLE"]:
        names = [name if PLAIN.fullmatch(name) else hydra_text(name) for name in predict["ENSEMBLE"]]
        words.append(f"PREDICT.ENSEMBLE=[{','.join(names)}]")
    if predict["TTA"] != "none":
        words.append(f"PREDICT.TTA={predict['TTA']}")
    for key, value in predict["POSTPROCESS"].items():
        if value:
            text = f"[{','.join(map(str, value))}]" if isinstance(value, list) else value
            words.append(f"PREDICT.POSTPROCESS.{key}={text}")
    return command_line("predict.py", words)
