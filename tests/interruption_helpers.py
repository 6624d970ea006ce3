"""Runs that are killed at random moments, and what they leave, to compare with runs that are not."""

import hashlib
import os
import random
import re
import time

import warm_helpers

from train import train
from utils.config import load_config
from utils.training.state import read_state_file

RUN = [
    "MODEL.TYPE=unet",
    "MODEL.FILTERS=[4,6]",
    "MODEL.DECODER.DROPOUT=0.1",
    "INPUT.HEIGHT=48",
    "INPUT.WIDTH=48",
    "HYPER_PARAMETERS.BATCH_SIZE=2",
    "HYPER_PARAMETERS.LEARNING_RATE=1e-3",
    "LR_SCHEDULE.NAME=plateau",
    "LR_SCHEDULE.PLATEAU_PATIENCE=1",
    "OPTIMIZER.EMA=0.9",
    "OPTIMIZER.ACCUMULATION_STEPS=2",
    "loss=bce_dice",
    "VERBOSE=2",
    "CALLBACKS.CHECKPOINT_EVERY_STEPS=2",
]


def settings(folder, data, *overrides):
    """Settings of a run; a classifier has a loss of its own."""
    classifier = "MODEL.TYPE=classifier" in overrides
    found = [f"WORK_DIR={folder}", *(value for value in RUN if not (classifier and value.startswith("loss=")))]
    for split in ("TRAIN", "VAL"):
        place = data / "data" / split.lower()
        found += [f"DATASET.{split}.IMAGES_PATH={place / 'images'}", f"DATASET.{split}.MASK_PATH={place / 'mask'}"]
    return [*found, *overrides]


def start(folder, data, *overrides):
    backend = "jax" if "BACKEND=jax" in overrides else os.environ.get("KERAS_BACKEND", "tensorflow")
    return warm_helpers.start("train.py", *settings(folder, data, *overrides), merge=True, KERAS_BACKEND=backend)


def finish(process):
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def train_here(folder, data, *overrides):
    """Train in this process, which has imported TensorFlow already."""
    return train(load_config(settings(folder, data, *overrides)))


def outcome(folder):
    """Digests of weights, log and states, earlier versions included; logs and states without the id of the run."""
    folder = folder / "checkpoint"
    weights = [path for path in folder.glob("model_*.weights.h5") if ".previous" not in path.name]
    found = {path.name: path.read_bytes() for path in weights}
    for path in folder.glob("training_logs_*.csv"):
        found[path.name] = re.sub(r",[0-9a-f]{16}$", "", path.read_text(), flags=re.MULTILINE).encode()
    for path in folder.glob("model_*.state.npz"):
        metadata, arrays = read_state_file(path)
        about = {name: value for name, value in metadata.items() if name != "config"}
        found[path.name] = repr(about).encode() + b"".join(array.tobytes() for array in arrays)
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(found.items())}


def train_there(folder, data, *overrides):
    """Train in a process of its own, which may divide the CPU."""
    code, output = finish(start(folder, data, *overrides))
    assert code == 0, output


def kill_until_done(folder, data, kills, seed, *overrides, last=train_here):
    """Kill `kills` runs at random moments, then let one finish; return the kills that hit."""
    moments, hits = random.Random(seed), 0
    for _ in range(kills):
        process = start(folder, data, *overrides)
        state = folder / "checkpoint" / "model_unet.state.npz"
        # Most of a short run is its start: wait for the first state, then for any moment of what follows.
        begin = time.monotonic()
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and time.monotonic() - begin < 120:
            if state.exists() and state.stat().st_mtime_ns != before:
                break
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.6))
        hits += process.poll() is None
        process.kill()
        process.communicate()
    last(folder, data, *overrides)
    assert not list((folder / "checkpoint").glob(".*"))  # halves that kills left
    return hits
