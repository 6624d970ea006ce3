"""Stop at any moment and go on exactly where a run was.

`<name>.state.npz` holds all that a run consists of at the end of a step: the variables of network, optimizer and
metrics (loss scale, accumulated gradients, averages, random seeds), epoch and step, and what the callbacks know. Orders
and crops follow from seed and epoch. Plain arrays and JSON: nothing in it can run.
"""

import hashlib
import json
import math
import signal
import sys
import zipfile

import keras
import numpy as np
from omegaconf import OmegaConf

from utils.base.errors import UserError
from utils.base.files import atomic_write, check_space, list_backups, resolve_path, warn_if_not_saved
from utils.base.keys import Role
from utils.checkpoints import companion_path
from utils.config.schema import has_role
from utils.devices.strategy import worker

STATE = ".state.npz"
MARGIN = 1_000_000  # bytes for config, log and curves

# What each callback knows from the epochs before, by the name of its class.
KNOWN = {
    "BestWeights": ("best", "best_epoch"),
    "EarlyStopping": ("best", "best_epoch", "wait", "stopped_epoch"),
    "EpochLog": ("rows",),
    "LearningRate": ("factor", "best", "waited"),
}


class Stopping(keras.callbacks.Callback):
    """Ctrl-C and SIGTERM let the step end first; with several workers the epoch, which the first of them saves.

    Args:
        workers: int.
    """

    def __init__(self, workers):
        super().__init__()
        self.workers = workers
        self.signal = None
        self.said = "the first worker saves the state"

    def on_train_begin(self, logs=None):
        self.handlers = {number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_end(self, logs=None):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def stop(self, number, frame):
        if self.signal is not None:  # asked twice: at once
            sys.exit(128 + number)
        self.signal = number

    def on_train_batch_end(self, batch, logs=None):
        if self.workers == 1:  # several would have to agree on the step
            self.leave()

    def on_epoch_end(self, epoch, logs=None):
        self.leave()

    def leave(self):
        if self.signal is not None:
            print(f"\nStopped; {self.said}. Type the same command again to go on.", file=sys.stderr)
            sys.exit(128 + self.signal)


class Checkpoint(Stopping):
    """Save the state after every epoch, every so many steps, and when the run is told to stop.

    To be the last callback: it saves what the others know.

    Args:
        cfg: checked config.
        trainer: Trainer; its variables are saved.
        weights: path of the weights that the state stands beside.
        callbacks: list of the other callbacks.
        samples: list of the training samples.
    """

    def __init__(self, cfg, trainer, weights, callbacks, samples):
        super().__init__(worker(trainer.distribute_strategy)[1])
        self.cfg = cfg
        self.trainer = trainer
        self.path = companion_path(weights, STATE)
        self.callbacks = callbacks
        self.data = describe(samples)
        self.every = cfg.CALLBACKS.CHECKPOINT_EVERY_STEPS
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        # Not with several workers: reading the metrics would take all of them.
        due = self.signal is not None or (self.every and (batch + 1) % self.every == 0)
        if due and self.workers == 1:
            self.save(self.epoch, batch + 1)
        super().on_train_batch_end(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.save(epoch + 1, 0, finished=self.model.stop_training or epoch + 1 == self.params["epochs"])
        super().on_epoch_end(epoch)

    def save(self, epoch, step, finished=False):
        """Write the state: `epoch` and `step` are those to begin with. Disk full: training goes on with a warning.

        One that holds inf or nan is of no use: the state before stays.
        """
        known = {}
        for callback in self.callbacks:
            names = KNOWN.get(type(callback).__name__, ())
            known[type(callback).__name__] = {name: plain(getattr(callback, name)) for name in names}
        about = {
            "epoch": epoch,
            "step": step,
            "finished": finished,
            "devices": self.trainer.distribute_strategy.num_replicas_in_sync,
            "config": OmegaConf.to_container(self.cfg, resolve=True),
            "callbacks": known,
            "data": self.data,
        }
        variables = all_variables(self.trainer, step)
        arrays = {f"v{number}": keras.ops.convert_to_numpy(variable) for number, variable in enumerate(variables)}
        broken = [
            variable.path for variable, array in zip(variables, arrays.values(), strict=True) if not finite(array)
        ]
        if broken:
            self.said = "this step is of no use and was not saved"
            print(f"\nWarning: the state was not saved: {broken[0]} is not finite.", file=sys.stderr)
            return
        backups = self.cfg.CALLBACKS.MODEL_CHECKPOINT.KEEP - 1
        content = np.frombuffer(json.dumps(about).encode(), np.uint8)
        with (
            warn_if_not_saved("the state") as errors,
            atomic_write(self.path, backups) as temporary,
            open(temporary, "wb") as file,
        ):
            np.savez(file, about=content, **arrays)
        self.said = "this step could not be saved" if errors else f"the state is saved in {self.path}"


def check_room(cfg, trainer, weights):
    """Find out before the first step whether the disk holds what the run will write.

    These are KEEP versions of state and weights, and one of each more while it replaces them.

    Raises:
        UserError: says how much is needed and how much is free.
    """
    keep, folder = cfg.CALLBACKS.MODEL_CHECKPOINT.KEEP, weights.parent
    state = size_of([*trainer.network.variables, *trainer.optimizer.variables])
    needed = (keep + 1) * (state + size_of(trainer.network.variables)) + MARGIN
    there = [
        companion_path(weights, STATE),
        *list_backups(companion_path(weights, STATE)),
        weights,
        *list_backups(weights),
    ]
    needed -= sum(path.stat().st_size for path in there if path.exists())
    key = "CALLBACKS.MODEL_CHECKPOINT.PATH"
    check_space(folder, needed, key, f"Make room, set another path, or lower CALLBACKS.MODEL_CHECKPOINT.KEEP={keep}.")


def describe(samples):
    """What the order of an epoch depends on: how many samples, and a digest of their names in order (folders may move).

    Args:
        samples: list with `image`, a path or the entry of a shard.
    """
    names = "\n".join(sample.image.name for sample in samples)
    return {"samples": len(samples), "names": hashlib.sha256(names.encode()).hexdigest()[:16]}


def finite(array):
    return not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())


def size_of(variables):
    """Bytes of all variables together."""
    return sum(math.prod(variable.shape) * np.dtype(variable.dtype).itemsize for variable in variables)


def plain(value):
    """A value that JSON knows; -inf and inf stand as they do in Python."""
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    return value.item() if hasattr(value, "item") else value


def all_variables(trainer, step):
    """The variables of a run before `step` of an epoch; with step 0 the metrics have nothing to remember."""
    found = [*trainer.network.variables, *trainer.optimizer.variables]
    return found + [variable for metric in trainer.metrics for variable in metric.variables if step]


def find_state(cfg, weights):
    """The state to go on from: (about, arrays), or None for a new run.

    Raises:
        UserError: RESUME is a path with no state; or the settings differ from those of the interrupted run.
    """
    if cfg.RESUME == "never":
        return None
    path = companion_path(weights, STATE) if cfg.RESUME == "auto" else None
    if path is None:
        path = resolve_path(cfg, cfg.RESUME)
        if not path.is_file():
            raise UserError(
                f"RESUME={cfg.RESUME}: there is no state {path}. Use auto or never, or name a .state.npz file."
            )
    state = read_newest(path)
    if state is None:
        return None
    about, _ = state
    if about["finished"] and about["config"]["HYPER_PARAMETERS"]["EPOCHS"] >= cfg.HYPER_PARAMETERS.EPOCHS:
        return None  # even where it was stopped early
    different = compare(about["config"], OmegaConf.to_container(cfg, resolve=True))
    if different and about["finished"]:
        return None  # another run with the same name
    if different:
        raise UserError(
            f"{path} is the state of an interrupted run with other settings: {', '.join(different)}. Type them as they "
            "were to go on, or RESUME=never to start anew."
        )
    return state


def compare(saved, now, prefix=""):
    """Keys whose values differ, those of role RESUMABLE left out: `KEY=saved (now ...)`."""
    different = []
    for name in sorted(saved.keys() | now.keys()):
        key, old, new = f"{prefix}{name}", saved.get(name), now.get(name)
        if has_role(key, Role.RESUMABLE) or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            different += compare(old, new, f"{key}.")
        else:
            different.append(f"{key}={old} (now {new})")
    return different


def read_newest(path):
    """(about, arrays) of a state; of the one before, with a warning, where it is damaged; None where there is none."""
    for candidate in (path, *list_backups(path)):
        if not candidate.exists():
            continue
        try:
            with np.load(candidate, allow_pickle=False) as file:
                about = json.loads(bytes(file["about"]).decode())
                arrays = [file[f"v{number}"] for number in range(len(file.files) - 1)]
            if {"epoch", "step", "finished", "config", "callbacks"} <= about.keys():
                return about, arrays
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, AttributeError):
            """Damaged: the checksums of the archive do not fit, or it is none."""
        print(f"Warning: the state {candidate} is damaged and was left out.", file=sys.stderr)
    return None


def restore(state, trainer, callbacks, samples):
    """Set everything as it was; return (epoch, step) to begin with.

    Args:
        state: of `find_state`.
        trainer: Trainer.
        callbacks: list.
        samples: list of the training samples.

    Raises:
        UserError: the state belongs to another model, to other data, or to another number of devices.
    """
    about, arrays = state
    saved, now = about.get("data"), describe(samples)  # states of earlier versions do not say
    if saved and saved != now:
        changed = (
            f"{saved['samples']} images then, {now['samples']} now"
            if saved["samples"] != now["samples"]
            else f"{now['samples']} images as before, but other names or another order"
        )
        raise UserError(
            f"The training data has changed since the state was saved: {changed}. Bring back what it was to go on, or "
            "set RESUME=never to start anew."
        )
    devices = trainer.distribute_strategy.num_replicas_in_sync
    if about["step"] and about.get("devices", devices) != devices:  # a step is another part of the epoch
        raise UserError(
            f"The state is of the middle of an epoch on {about['devices']} devices, here are {devices}: go on with "
            "as many (USE_MULTI_GPUS, STRATEGY), or set RESUME=never to start anew."
        )
    variables = all_variables(trainer, about["step"])
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in arrays]:
        raise UserError("The state belongs to another model or optimizer. Use RESUME=never to start anew.")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    for callback in callbacks:
        for name, value in about["callbacks"].get(type(callback).__name__, {}).items():
            setattr(callback, name, value)
    return about["epoch"], about["step"]
