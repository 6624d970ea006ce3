"""Write `<weights>.run.json`, the summary of a finished run."""

import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
from omegaconf import DictConfig

from utils.base.files import warn_if_not_saved, write_json
from utils.base.version import VERSION, find_commit
from utils.checkpoints.paths import weights_path
from utils.checkpoints.start_weights import count_taken
from utils.config.overrides import command_line
from utils.devices.machine import describe_machine
from utils.devices.strategy import PRECISIONS, name_of
from utils.training.best_scores import find_baseline
from utils.training.saving import BestWeights
from utils.training.trainer import History, Trainer


def write_summary(
    cfg: DictConfig,
    trainer: Trainer,
    best: BestWeights,
    data: Mapping[str, Any],
    history: History,
    seconds: float,
    path: Path,
) -> None:
    """Write what ran, on what, and how it ended. A full disk costs the file, not the run.

    Args:
        data: of `verify_data`.
        history: of `Trainer.fit`.
        seconds: how long it took.
        path: of the file.
    """
    strategy = trainer.distribute_strategy
    epochs = len(history.get("loss", ()))
    summary = {
        "run": cfg.RUN,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "model": cfg.MODEL.TYPE,
        "parameters": trainer.network.count_params(),
        "images": {split: found["pairs"] for split, found in data.items()},
        "backend": keras.backend.backend(),
        "strategy": name_of(strategy),
        "devices": strategy.num_replicas_in_sync,
        "precision": PRECISIONS[cfg.OPTIMIZATION.AMP],
        "versions": {"application": VERSION, **{name: version(name) for name in (keras.backend.backend(), "keras")}},
        "commit": find_commit(),
        "machine": describe_machine(),
        "since_last_start": {"epochs": epochs, "seconds": round(seconds, 1)},  # the log has all epochs of the run
        "best": {
            "epoch": best.best_epoch,
            "score": best.monitor.log,
            "value": best.best,
            "constant_answer": find_baseline(cfg, data).get(best.monitor.name, (None,))[0],
        },
        "last": {name: values[-1] for name, values in history.items()} if epochs else {},
        "share_of_time_waiting_for_data": trainer.data_wait.share,
        "overrides": list(cfg.OVERRIDES),
        "start": count_taken(cfg, weights_path(cfg)),
        "command": command_line("train.py", cfg.OVERRIDES),
    }
    with warn_if_not_saved("the summary"):
        write_json(path, summary)
