"""What a run says at its start and at its end."""

import json
import re
import shlex
import time
from textwrap import shorten

from tqdm import tqdm

from utils.checkpoints import beside
from utils.devices import PRECISIONS
from utils.files import warn_if_not_saved, write_whole
from utils.scores import MEASURES


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


def write_summary(cfg, best, score, weights, network, strategy, history, waiting, data, seconds):
    """Write `<weights>.run.json`: what ran, on what, how it ended. A full disk costs the file, not the run."""
    import keras
    import tensorflow as tf

    epochs = len(history.get("loss", ()))
    about = {
        "run": cfg.RUN,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "model": cfg.MODEL.TYPE,
        "parameters": network.count_params(),
        "images": {split: found["pairs"] for split, found in data.items()},
        "strategy": "single" if strategy is tf.distribute.get_strategy() else type(strategy).__name__,
        "devices": strategy.num_replicas_in_sync,
        "precision": PRECISIONS[cfg.OPTIMIZATION.AMP],
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "since_last_start": {"epochs": epochs, "seconds": round(seconds, 1)},  # the log has all epochs of the run
        "best": {"epoch": best.best_epoch, "score": f"val_{score}", "value": best.best},
        "last": {name: values[-1] for name, values in history.items()} if epochs else {},
        "share_of_time_waiting_for_data": waiting.share,
        "overrides": list(cfg.OVERRIDES),
    }
    with warn_if_not_saved("the summary"), write_whole(beside(weights, ".run.json")) as temporary:
        temporary.write_text(json.dumps(about, indent=1), encoding="utf-8")


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
        "config": beside(weights, ".yaml"),
        "log": log,
        "summary": beside(weights, ".run.json"),
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


# Measures of utils.scores for the terminal; the report has all.
PRINTED = ("dice_global", "dice_per_case", "volume_error", "hd95_mm", "assd_mm", "surface_dice")


def print_results(cfg, results, folder):
    """Print the main scores of an evaluation: a row per score, a column per split, and how each averages."""
    if not cfg.VERBOSE:
        return
    print(f"weights {cfg.MODEL.WEIGHTS_FILE_NAME}")
    rows = [("", [result.split for result in results], "")]
    rows += [("images", [f"{result.images}" for result in results], "")]
    for name, rule in results[0].rules.items():
        if "_class" in name:
            continue  # a class has rows of its own below
        rows.append((name, [f"{result.scores[name]:.4f}" for result in results], rule))
    if results[0].summary:
        case = results[0].summary["case"]
        rows += [(f"{case}s", [f"{result.summary['cases']}" for result in results], "")] if case == "volume" else []
        rows += [row for region in results[0].summary["regions"] for row in region_rows(region, results)]
    names = max(len(name) for name, _, _ in rows)
    widths = [max(len(cells[column]) for _, cells, _ in rows) for column in range(len(results))]
    for name, cells, rule in rows:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(f"{name.ljust(names)}  {cells}  {shorten(rule, 70, placeholder='...')}".rstrip())
    for result in results:
        print(f"{result.split}: {result.speed:.1f} images/s, reading included")
    print(f"saved {folder}")


def region_rows(region, results):
    """Rows of the measures of one region: value, 95% interval and cases of each split."""
    regions = [result.summary["regions"][region] for result in results]
    for measure in PRINTED:
        title, rule = MEASURES[measure]
        if any(measure in found for found in regions):
            cells = [format_measure(found.get(measure)) for found in regions]
            yield f"{title}, {region}", cells, rule.format(cases=f"{results[0].summary['case']}s")


def format_measure(entry):
    """`0.9350 [0.9200, 0.9410]`, the brackets where there is an interval; a dash where nothing defines the measure."""
    if entry is None:
        return "-"
    text = f"{entry['value']:.4f}"
    return text if entry["low"] is None else f"{text} [{entry['low']:.4f}, {entry['high']:.4f}]"


def progress(cfg, total, name, unit):
    """A tqdm bar, silent with VERBOSE=0."""
    return tqdm(total=total, desc=name, unit=unit, disable=not cfg.VERBOSE)
