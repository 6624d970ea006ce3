"""What a training run prints at its start and end."""

import re
import shlex

from utils.checkpoints import companion_path


def print_start(cfg, network, data, strategy):
    """Say what will run: model, data, loss, devices."""
    if not cfg.VERBOSE:
        return
    size = f"{cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}x{cfg.INPUT.CHANNELS}"
    loss = " + ".join(f"{weight:g} {name}" for name, weight in cfg.LOSS.items() if weight)
    loss = "cross-entropy" if cfg.MODEL.TYPE == "classifier" else loss
    batch, replicas = cfg.HYPER_PARAMETERS.BATCH_SIZE, strategy.num_replicas_in_sync
    batch = (
        f"{batch} on each of {replicas} devices, {batch * replicas} together"
        if replicas > 1
        else f"{batch} on 1 device"
    )
    lines = {
        "model": f"{cfg.MODEL.TYPE}, encoder {cfg.MODEL.BACKBONE.TYPE}, {network.count_params():,} parameters",
        "input": f"{size} -> {cfg.OUTPUT.CLASSES} classes",
        "data": f"{data['train']['pairs']} for training, {data['val']['pairs']} for validation, "
        f"loader {cfg.DATA_GENERATOR_TYPE}",
        "loss": f"{loss}, L2 {cfg.MODEL.L2:g}",
        "training": f"{cfg.HYPER_PARAMETERS.EPOCHS} epochs, batch {batch}",
        "steps": f"{cfg.OPTIMIZER.NAME}, learning rate {cfg.HYPER_PARAMETERS.LEARNING_RATE:g}, {cfg.LR_SCHEDULE.NAME}",
        "speed": f"AMP {cfg.OPTIMIZATION.AMP}, XLA {cfg.OPTIMIZATION.XLA}",
    }
    for name, line in lines.items():
        print(f"{name:>9}  {line}")


def print_resumed(cfg, start, steps):
    """Say where a run goes on: `start` is (epoch, step) to begin with, `steps` the number of an epoch."""
    epoch, step = start
    if cfg.VERBOSE:
        print(f"going on after epoch {epoch}" + (f", step {step} of {steps} of the next" if step else ""))


def print_waiting(cfg, waiting):
    """Say how much of the last epoch's time the steps waited for data, and what helps where that is much."""
    if cfg.VERBOSE:
        print(waiting.advice(cfg) or f"Waiting for data: {waiting.share:.0%} of the time of the steps")


def print_end(cfg, best, score, weights, log):
    """Say how good the best epoch was and where everything is."""
    if not cfg.VERBOSE:
        return
    print(f"Best validation {score} {best.best:.4f} in epoch {best.best_epoch}; there, training and validation:")
    for name, value in best.best_logs.items():
        if f"val_{name}" in best.best_logs:
            print(f"{name:>20} {value:9.4f} {best.best_logs[f'val_{name}']:9.4f}")
    for name, path in {
        "weights": weights,
        "config": companion_path(weights, ".yaml"),
        "log": log,
        "summary": companion_path(weights, ".run.json"),
        "curves": weights.parent / "training_curves.png",
    }.items():
        print(f"{name:>9}  {path}")
    where = [override for override in cfg.OVERRIDES if override.startswith("WORK_DIR")]
    folder, name = cfg.CALLBACKS.MODEL_CHECKPOINT.PATH, cfg.MODEL.WEIGHTS_FILE_NAME
    if folder != "/checkpoint":
        quote = "'" if re.search(r"[^\w./-]", folder) else ""  # Hydra's own: a sweep's folder has commas
        where.append(f"CALLBACKS.MODEL_CHECKPOINT.PATH={quote}{folder}{quote}")
    usual = name == f"model_{cfg.MODEL.TYPE}"
    where.append(f"MODEL.TYPE={cfg.MODEL.TYPE}" if usual else f"MODEL.WEIGHTS_FILE_NAME={name}")
    print(f"Next: python evaluate.py {shlex.join(where)}")
