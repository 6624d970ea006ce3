"""Write `<weights>.run.json`, the summary of a finished run."""

import json
import time

from utils.base.files import atomic_write, warn_if_not_saved
from utils.checkpoints import companion_path
from utils.devices.strategy import PRECISIONS


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
    with warn_if_not_saved("the summary"), atomic_write(companion_path(weights, ".run.json")) as temporary:
        temporary.write_text(json.dumps(about, indent=1), encoding="utf-8")
