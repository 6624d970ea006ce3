"""What a training run prints at its start and end."""

import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from losses.bad_fit import find_bad_monitors
from losses.constant_answer import answer_name
from losses.monitor import build_monitor
from utils.base.job_table import fold_table, job_table
from utils.base.terminal import make_table, say, show
from utils.base.wording import counted
from utils.checkpoints.paths import evaluate_command, evaluate_sweep_command
from utils.checkpoints.training_log import read_best
from utils.config.class_names import mask_class_names
from utils.config.overrides import override_key
from utils.config.sweeps import Job
from utils.devices.machine import accelerators, lacks_instructions
from utils.training.best_scores import find_baseline, find_warnings, score_rows
from utils.training.data_wait import DataWait
from utils.training.outputs import Outputs
from utils.training.saving import BestWeights

if TYPE_CHECKING:
    from utils.checkpoints.start_weights import Taken
    from utils.training.trainer import Trainer

SHOWN = ("dice", "iou")  # scores of a constant answer in the line at the start


def print_start(cfg: DictConfig, trainer: "Trainer", data: Mapping[str, Any], taken: "Taken | None") -> None:
    """Say what will run: model, data, loss, devices. Warn of a monitor that is a bad fit for the validation masks.

    Args:
        data: of `verify_data`.
        taken: what MODEL.INIT gave, if anything.
    """
    for warning in find_bad_monitors(cfg, data["val"]["label_counts"]):
        print(f"Warning: {warning}", file=sys.stderr)
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
        "input": f"{size} -> {counted(cfg.OUTPUT.CLASSES, 'class', 'classes')}",
        "data": f"{data['train']['pairs']} for training, {data['val']['pairs']} for validation, "
        f"loader {cfg.DATA_GENERATOR_TYPE}",
        "loss": f"{loss}, L2 {cfg.MODEL.L2:g}",
        "training": f"{counted(cfg.HYPER_PARAMETERS.EPOCHS, 'epoch')}, batch {batch}",
        "steps": f"{cfg.OPTIMIZER.NAME}, learning rate {cfg.HYPER_PARAMETERS.LEARNING_RATE:g}, {cfg.LR_SCHEDULE.NAME}",
        "speed": f"AMP {cfg.OPTIMIZATION.AMP}, XLA {cfg.OPTIMIZATION.XLA}",
    }
    if lacks_instructions(cfg.OPTIMIZATION.AMP) and not accelerators():
        lines["slow"] = (
            f"this processor has to imitate OPTIMIZATION.AMP={cfg.OPTIMIZATION.AMP}; "
            "OPTIMIZATION.AMP=False is faster here"
        )
    if baseline := describe_baseline(cfg, data):
        lines["baseline"] = baseline
    for name, line in lines.items():
        print(named_line(name, line))
    for line in taken.lines() if taken else ():
        print(named_line("init", line))


def named_line(name: str, line: str) -> str:
    """A line behind its name, broken between words where it does not fit 80 columns.

    >>> print(named_line("baseline", "constant answer, validation: " + "a_score 0.2771 (all liver) " * 2))
     baseline  constant answer, validation: a_score 0.2771 (all liver) a_score
               0.2771 (all liver)
    """
    wrapper = textwrap.TextWrapper(79, f"{name:>9}  ", " " * 11, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(line)


def describe_baseline(cfg: DictConfig, data: Mapping[str, Any]) -> str:
    """What the best constant answer scores on the validation masks; empty where nothing is a constant answer."""
    found = find_baseline(cfg, data)
    names = mask_class_names(cfg) if found else []
    answers: dict[str, list[str]] = {}
    for name in dict.fromkeys((build_monitor(cfg).name, *SHOWN)):
        if name in found:
            score, answer = found[name]
            answers.setdefault(answer_name(answer, names), []).append(f"{name} {score:.4f}")
    shown = "; ".join(f"{', '.join(scores)} (all {answer})" for answer, scores in answers.items())
    return f"constant answer, validation: {shown}" if shown else ""


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
    for warning in find_warnings(cfg, best, data):
        print(f"Warning: {warning}", file=sys.stderr)
    if not cfg.VERBOSE:
        return
    say(f"Best validation {best.monitor.name} {best.best:.4f} in epoch {best.best_epoch}")
    if rows := score_rows(cfg, best.best_logs, find_baseline(cfg, data)):
        show(make_table(["", "training", "validation", "best constant answer"], rows))
    if cfg.DATASET.CROP.MODE is not None:
        say("Validation takes the centre crop of each image, evaluate.py whole images: its scores differ.")
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
    rows = [(" ".join(job.swept), [read_best(job.cfg).get("value")]) for job in jobs]
    constants = [("", [read_best(job.cfg).get("constant_answer")]) for job in jobs]
    say("")
    if jobs[0].is_fold:
        show(fold_table([monitor.log], rows, constants))
    else:
        show(job_table([monitor.log], rows, monitor.higher_is_better, constants))
    if jobs[0].typed:
        swept = [override_key(override) for override in jobs[0].swept]
        say(f"Next: {evaluate_sweep_command(jobs[0].typed, swept, all_folds=jobs[0].is_fold)}")
