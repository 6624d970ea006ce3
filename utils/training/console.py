"""What a training run prints at its start and end."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from losses.constant_answer import Answer, Scoring, answer_name, best_constant
from losses.monitor import build_monitor
from utils.base.job_table import fold_table, job_table
from utils.base.terminal import say, show
from utils.checkpoints.paths import companion_path, evaluate_command, evaluate_sweep_command, weights_path
from utils.config.class_names import mask_class_names
from utils.config.overrides import override_key
from utils.config.sweeps import Job
from utils.training.data_wait import DataWait
from utils.training.outputs import Outputs
from utils.training.saving import BestWeights

if TYPE_CHECKING:
    from utils.training.trainer import Trainer

SHOWN = ("dice", "iou")  # scores of a constant answer in the line at the start


def print_start(cfg: DictConfig, trainer: "Trainer", data: Mapping[str, Any]) -> None:
    """Say what will run: model, data, loss, devices.

    Args:
        data: of `verify_data`.
    """
    if not cfg.VERBOSE:
        return
    size = f"{cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}x{cfg.INPUT.CHANNELS}"
    loss = " + ".join(f"{weight:g} {name}" for name, weight in cfg.LOSS.items() if weight)
    loss = "cross-entropy" if cfg.MODEL.TYPE == "classifier" else loss
    batch, replicas = cfg.HYPER_PARAMETERS.BATCH_SIZE, trainer.distribute_strategy.num_replicas_in_sync
    batch = (
        f"{batch} on each of {replicas} devices, {batch * replicas} together"
        if replicas > 1
        else f"{batch} on 1 device"
    )
    parameters = trainer.network.count_params()
    lines = {
        "model": f"{cfg.MODEL.TYPE}, encoder {cfg.MODEL.BACKBONE.TYPE}, {parameters:,} parameters",
        "input": f"{size} -> {cfg.OUTPUT.CLASSES} classes",
        "data": f"{data['train']['pairs']} for training, {data['val']['pairs']} for validation, "
        f"loader {cfg.DATA_GENERATOR_TYPE}",
        "loss": f"{loss}, L2 {cfg.MODEL.L2:g}",
        "training": f"{cfg.HYPER_PARAMETERS.EPOCHS} epochs, batch {batch}",
        "steps": f"{cfg.OPTIMIZER.NAME}, learning rate {cfg.HYPER_PARAMETERS.LEARNING_RATE:g}, {cfg.LR_SCHEDULE.NAME}",
        "speed": f"AMP {cfg.OPTIMIZATION.AMP}, XLA {cfg.OPTIMIZATION.XLA}",
    }
    if baseline := describe_baseline(cfg, data):
        lines["baseline"] = baseline
    for name, line in lines.items():
        print(f"{name:>9}  {line}")


def describe_baseline(cfg: DictConfig, data: Mapping[str, Any]) -> str:
    """What the best constant answer scores on the validation masks; empty where nothing is a constant answer."""
    found = find_baseline(cfg, data)
    names = mask_class_names(cfg) if found else []
    best = [(name, *found[name]) for name in SHOWN if name in found]
    shown = ", ".join(f"{name} {score:.4f} (all {answer_name(answer, names)})" for name, score, answer in best)
    return f"constant answer, validation: {shown}" if shown else ""


def find_baseline(cfg: DictConfig, data: Mapping[str, Any]) -> dict[str, tuple[float, Answer]]:
    """`losses.constant_answer.best_constant` of the validation masks; empty for classifiers."""
    if cfg.MODEL.TYPE == "classifier":
        return {}
    return best_constant(data["val"]["label_counts"], Scoring.from_config(cfg))


def print_resumed(cfg: DictConfig, start: tuple[int, int], steps: int) -> None:
    """Say where a run resumes: `start` is (epoch, step) to begin with, `steps` are those of an epoch."""
    epoch, step = start
    if cfg.VERBOSE:
        print(f"resuming after epoch {epoch}" + (f", step {step} of {steps} of the next" if step else ""))


def print_data_wait(cfg: DictConfig, data_wait: DataWait) -> None:
    """Say how much of the last epoch was data wait, and what helps if it is much."""
    if cfg.VERBOSE:
        print(data_wait.advice(cfg) or f"Data wait: {data_wait.share:.0%} of the training time")


def print_end(cfg: DictConfig, best: BestWeights, outputs: Outputs, data: Mapping[str, Any]) -> None:
    """Say how good the best epoch was, where everything is, and what to run next."""
    constant = find_baseline(cfg, data).get(best.monitor.name, (None, 0))[0]
    if warning := nothing_learnt(best, constant):
        print(f"Warning: {warning}", file=sys.stderr)
    if not cfg.VERBOSE:
        return
    logs = best.best_logs
    print(
        f"Best validation {best.monitor.name} {best.best:.4f} in epoch {best.best_epoch}"
        + ("; its scores in training and validation:" if logs else "")
    )
    for name, value in logs.items():
        if f"val_{name}" in logs:
            print(f"{name:>20} {value:9.4f} {logs[f'val_{name}']:9.4f}")
    if not cfg.CALLBACKS.MODEL_CHECKPOINT.SAVE_BEST_ONLY:
        print("The weights are those of the newest epoch (CALLBACKS.MODEL_CHECKPOINT.SAVE_BEST_ONLY=False).")
    for name, path in {
        "weights": outputs.weights,
        "config": outputs.config,
        "log": outputs.log,
        "summary": outputs.summary,
        "curves": outputs.curves,
        "pictures": outputs.pictures,
    }.items():
        if path == outputs.pictures and not path.exists():  # of a classifier, or not asked for
            continue
        print(f"{name:>9}  {path}")
    print(f"Next: {evaluate_command(cfg)}")


def print_sweep(jobs: Sequence[Job]) -> None:
    """Say how the jobs of a sweep ended: the best first, or the folds with their mean; and what to run next."""
    monitor = build_monitor(jobs[0].cfg)
    rows = [(" ".join(job.swept), [best_score(job)]) for job in jobs]
    say("")
    if jobs[0].is_fold:
        show(fold_table([monitor.log], rows))
    else:
        show(job_table([monitor.log], rows, monitor.higher_is_better))
    if jobs[0].typed:
        swept = [override_key(override) for override in jobs[0].swept]
        say(f"Next: {evaluate_sweep_command(jobs[0].typed, swept, all_folds=jobs[0].is_fold)}")


def best_score(job: Job) -> float | None:
    """The score of the best epoch of a job, of all its starts; None if there is none."""
    try:
        summary = json.loads(companion_path(weights_path(job.cfg), ".run.json").read_text(encoding="utf-8"))
        return summary["best"]["value"]
    except (OSError, ValueError, KeyError):  # a full disk costs the file
        return None


def nothing_learnt(best: BestWeights, constant: float | None = None) -> str | None:
    """What is wrong with a best epoch whose score is undefined, or no better than `constant`; None if nothing is.

    Args:
        constant: what the best constant answer scores, None if that is not known.
    """
    score = best.monitor.log
    if best.best is None or math.isnan(best.best):
        return f"{score} is not defined in any epoch, as the validation data has nothing to find: no epoch is best."
    if best.monitor.higher_is_better and best.best == 0:
        return f"{score} is 0 in every epoch: the network finds nothing in the validation data. Train longer."
    if best.monitor.higher_is_better and constant is not None and best.best <= constant:
        return (
            f"{score} is {best.best:.4f}, no better than {constant:.4f} for the same class in every pixel: the network "
            "has learnt nothing yet. Train longer."
        )
    return None
