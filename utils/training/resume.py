"""Resume a run exactly where it was interrupted, if its settings, data and model are the same."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from omegaconf import DictConfig, OmegaConf

from data_generators.dataset import Dataset
from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.base.keys import Role
from utils.base.wording import counted
from utils.checkpoints import companion_path
from utils.config.defaults import default_config
from utils.config.overrides import override_key
from utils.config.schema import has_role
from utils.training.state import STATE, Metadata, StatefulCallback, TrainingState, read_state
from utils.training.trainer import Trainer


def find_state(cfg: DictConfig, weights: Path) -> TrainingState | None:
    """The state to resume from, or None for a new run.

    A finished run starts over, unless HYPER_PARAMETERS.EPOCHS was raised and nothing else changed.

    Raises:
        UserError: RESUME is a path without a state, or the settings differ from those of the interrupted run.
    """
    if cfg.RESUME == "never" or "bench_steps" in cfg:
        return None
    path = companion_path(weights, STATE) if cfg.RESUME == "auto" else resolve_path(cfg, cfg.RESUME)
    if cfg.RESUME != "auto" and not path.is_file():
        raise UserError(f"RESUME={cfg.RESUME}: there is no state {path}. Use auto or never, or name a .state.npz file.")
    state = read_state(path)
    if state is None and cfg.RESUME != "auto":
        raise UserError(f"RESUME={cfg.RESUME}: {path} is not a state that training saved, or it is damaged.")
    if state is None:
        return None
    metadata = state.metadata
    if metadata["finished"] and metadata["config"]["HYPER_PARAMETERS"]["EPOCHS"] >= cfg.HYPER_PARAMETERS.EPOCHS:
        return None  # even if early stopping ended it
    now: Any = json.loads(json.dumps(OmegaConf.to_container(cfg, resolve=True)))  # as the state has it: keys are text
    different = list_differences(with_newer_keys(dict(metadata["config"])), now)
    if different and metadata["finished"]:
        return None  # another run with the same name
    if different:
        different = typed_first(different, cfg.OVERRIDES)
        raise UserError(
            f"{path} is the state of an interrupted run with other settings: {', '.join(different)}. Use the same "
            "settings to continue, or start over with RESUME=never."
        )
    return state


def typed_first(changes: Iterable[str], overrides: Iterable[str]) -> list[str]:
    """The changes of `list_differences`, those of what was typed now first, in the order typed.

    A group is named as it was typed, before its keys.

    >>> typed_first(["INPUT.WIDTH=8 (now 4)", "LOSS.dice=1 (now 0)", "SEED=1 (now 2)"], ["SEED=2", "loss=bce"])
    ['SEED=1 (now 2)', 'loss=bce: LOSS.dice=1 (now 0)', 'INPUT.WIDTH=8 (now 4)']
    """
    left, first = list(changes), []
    for override in overrides:
        key = override_key(override)
        found = [change for change in left if f"{change.partition('=')[0]}.".startswith(f"{key}.")]
        left = [change for change in left if change not in found]
        if found and not override.lstrip("+~").startswith(key):
            found[0] = f"{override}: {found[0]}"
        first += found
    return first + left


def with_newer_keys(saved: dict[str, Any]) -> dict[str, Any]:
    """A config of an earlier version with the keys that are newer than it, as they are by default."""
    defaults: Any = OmegaConf.to_container(default_config())
    del defaults["LOSS"]  # chosen as a whole: a term that is not named is not there
    return fill_in(saved, defaults)


def fill_in(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Add what is missing in nested groups.

    >>> fill_in({"A": {"B": 1}}, {"A": {"B": 2, "C": 3}, "D": 4})
    {'A': {'B': 1, 'C': 3}, 'D': 4}
    """
    filled = {**defaults, **values}
    for name, default in defaults.items():
        if isinstance(default, dict) and isinstance(filled[name], dict):
            filled[name] = fill_in(filled[name], default)
    return filled


def list_differences(saved: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """The settings that differ, but for those of role RESUMABLE: `KEY=saved (now ...)`."""
    different = []
    for name in sorted(saved.keys() | now.keys()):
        key, old, new = f"{prefix}{name}", saved.get(name), now.get(name)
        if has_role(key, Role.RESUMABLE) or old == new:
            continue
        if has_role(key, Role.PREPARATION) and saved.get("PREPARED_BY") is None:
            continue  # not known how the data was prepared, and training does not depend on it
        if isinstance(old, dict) and isinstance(new, dict):
            different += list_differences(old, new, f"{key}.")
        else:
            different.append(f"{key}={old} (now {new})")
    return different


def restore_state(
    state: TrainingState, trainer: Trainer, callbacks: Sequence[keras.callbacks.Callback], data: Dataset
) -> tuple[int, int]:
    """Set variables and callbacks as they were; return (epoch, step) to resume with.

    Raises:
        UserError: the state belongs to another model, to other data, or to another number of devices.
    """
    metadata, arrays = state
    epoch, step = metadata["epoch"], metadata["step"]
    check_data(metadata, data)
    check_devices(metadata, trainer.distribute_strategy.num_replicas_in_sync)
    # First, for they know whether MODEL.FREEZE is over: then the optimizer has other variables.
    for callback in callbacks:
        if isinstance(callback, StatefulCallback) and callback.state_key in metadata["callbacks"]:
            callback.resume(metadata["callbacks"][callback.state_key])
    variables = state_variables(trainer, step)
    wanted = [(tuple(variable.shape), np.dtype(variable.dtype).kind) for variable in variables]
    found = [(array.shape, array.dtype.kind) for array in arrays]
    if step and found == wanted[: -len(trainer.gradient_norm.variables)]:  # earlier versions did not log it
        variables, wanted = variables[: len(found)], found
    if wanted != found:
        raise UserError("The state belongs to another model or optimizer. Start over with RESUME=never.")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    return epoch, step


def check_data(metadata: Metadata, data: Dataset) -> None:
    """Raise a UserError if the training images are not those of the state."""
    saved, now = metadata.get("data"), describe_data(data.samples)
    if not saved or saved == now:  # states of early versions do not describe their data
        return
    changed = (
        f"{counted(saved['samples'], 'image')} then, {now['samples']} now"
        if saved["samples"] != now["samples"]
        else f"{counted(now['samples'], 'image')} as before, but with other names or in another order"
    )
    raise UserError(
        f"The training data has changed since the state was saved: {changed}. Undo the change to continue, or start "
        "over with RESUME=never."
    )


def check_devices(metadata: Metadata, devices: int) -> None:
    """Raise a UserError if the state is from within an epoch, where each device changes what a step is."""
    saved = metadata.get("devices", devices)
    if metadata["step"] and saved != devices:
        raise UserError(
            f"The state was saved within an epoch on {saved} devices, now there are {devices}. Use as many to continue "
            "(USE_MULTI_GPUS, STRATEGY), or start over with RESUME=never."
        )


def describe_data(samples: Sequence[Any]) -> dict[str, Any]:
    """What the sampling of an epoch depends on: the number of samples, and a digest of their names in order.

    Folders do not count: they may move.

    Args:
        samples: each with `image`, a path or the entry of a shard.
    """
    names = "\n".join(sample.image.name for sample in samples)
    return {"samples": len(samples), "names": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]}


def state_variables(trainer: Trainer, step: int) -> list[keras.Variable]:
    """The variables that make up a run before `step` of an epoch. Before step 0, metrics have nothing to remember."""
    metrics = [variable for metric in trainer.metrics for variable in metric.variables]
    return [*trainer.network.variables, *trainer.optimizer.variables, *(metrics if step else ())]
