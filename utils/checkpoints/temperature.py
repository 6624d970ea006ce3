"""The temperature beside weights, `<name>.temperature.json`: calibrate.py writes it, what predicts uses it.

Imports no Keras.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from utils.base.classes import is_multi_label
from utils.base.errors import UserError
from utils.base.files import file_hash, write_json
from utils.base.terminal import say
from utils.checkpoints.paths import companion_path, weights_path

ENDING = ".temperature.json"
LOWEST, HIGHEST = 0.05, 20.0
SOFTMAX_MIN = 1e-37  # smaller probabilities count as this: float32 has none much smaller
SIGMOID_MIN = 1e-7  # so do those nearer to 0 or 1, beyond which float32 has no 1 - p


@dataclass(frozen=True)
class Temperature:
    """What the logits of a network are divided by (Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2).

    The logits are taken from the probabilities: log p of softmax, which is a logit but for a constant of the pixel, and
    log(p / (1 - p)) of a sigmoid. One temperature above 1 makes a network less sure of the same classes. With one per
    class, those of softmax may change which class is the most likely.

    Attributes:
        values: above 0, one for all classes or one per channel.
        sigmoids: whether the probabilities are of sigmoids, each for itself, else of softmax.

    Example:
        >>> halved = Temperature((2.0,)).scale(np.array([[0.8, 0.2], [0.5, 0.5]]))
        >>> halved.round(4).tolist()
        [[0.6667, 0.3333], [0.5, 0.5]]
        >>> Temperature((2.0,), sigmoids=True).scale(np.array([[0.8]])).round(4).tolist()
        [[0.6667]]
    """

    values: tuple[float, ...]
    sigmoids: bool = False

    def scale(self, probability: np.ndarray) -> np.ndarray:
        """The calibrated probabilities, of the shape and type of `probability` `(..., classes)`."""
        logits = to_logits(probability, self.sigmoids) / np.asarray(self.values, probability.dtype)
        return to_probabilities(logits, self.sigmoids)

    @property
    def may_change_masks(self) -> bool:
        """Whether another class may become the most likely one; a sigmoid stays on its side of 0.5."""
        return len(self.values) > 1 and not self.sigmoids

    @property
    def at_limit(self) -> bool:
        """Whether a value is the lowest or highest that is tried: none between them has the smallest loss."""
        return any(value <= LOWEST * 1.001 or value >= HIGHEST / 1.001 for value in self.values)

    def __str__(self) -> str:
        """One number, or one of each class in order."""
        return ", ".join(f"{value:.3f}" for value in self.values)


def to_logits(probability: np.ndarray, sigmoids: bool) -> np.ndarray:
    """Probabilities `(..., classes)` -> logits, finite."""
    if sigmoids:
        probability = np.clip(probability, SIGMOID_MIN, 1 - SIGMOID_MIN)
        return np.log(probability) - np.log1p(-probability)
    return np.log(np.maximum(probability, SOFTMAX_MIN))


def to_probabilities(logits: np.ndarray, sigmoids: bool) -> np.ndarray:
    """Logits `(..., classes)` -> probabilities."""
    if sigmoids:
        return 1 / (1 + np.exp(-logits))
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def uses_sigmoids(cfg: DictConfig) -> bool:
    """Whether the masks of a config are those of sigmoids."""
    return cfg.OUTPUT.CLASSES == 1 or is_multi_label(cfg)


def temperature_path(cfg: DictConfig) -> Path:
    """Where the temperature of the weights of `cfg` is."""
    return companion_path(weights_path(cfg), ENDING)


def save_temperature(cfg: DictConfig, temperature: Temperature, found: Mapping[str, Any]) -> Path:
    """Write a temperature beside its weights, with what it was fitted to (`found`)."""
    entry = {
        "temperature": list(temperature.values),
        **found,
        "prune": cfg.MODEL.PRUNE,
        "weights_sha256": file_hash(weights_path(cfg)),
        "fitted": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    path = temperature_path(cfg)
    write_json(path, entry)
    return path


def describe_temperatures(folds: Sequence[DictConfig]) -> str | None:
    """The temperatures of the weights of each fold, as text; None if none has one that is used."""
    return describe([load_temperature(fold, say_so=False) for fold in folds])


def describe_files(weights: Sequence[Path], classes: int) -> str | None:
    """`describe_temperatures` of weights whose configs are not at hand, as far as the temperatures belong to them.

    Raises:
        UserError: a file is damaged.
    """
    found: list[Temperature | None] = []
    for path in weights:
        file = companion_path(path, ENDING)
        entry, values = read_temperature(file, classes) if file.exists() and path.exists() else ({}, [])
        own = entry and entry.get("weights_sha256") == file_hash(path)
        found.append(Temperature(tuple(values)) if own else None)
    return describe(found)


def describe(found: Sequence[Temperature | None]) -> str | None:
    """Temperatures as text, None if there is none.

    >>> describe([Temperature((1.5,)), None])
    '1.500; none'
    """
    return "; ".join(str(temperature or "none") for temperature in found) if any(found) else None


def load_temperature(cfg: DictConfig, say_so: bool = True) -> Temperature | None:
    """The temperature of the weights of a restored config, and a line that says so; None if there is none to use.

    One of other weights of that name, or of another depth of MODEL.PRUNE, is not used, and a line says that.

    Raises:
        UserError: the file is damaged.
    """
    path = temperature_path(cfg)
    if not cfg.TEMPERATURE.APPLY or not path.exists() or cfg.MODEL.TYPE == "classifier":
        return None
    found, values = read_temperature(path, cfg.OUTPUT.CLASSES)
    reason = None
    if found.get("weights_sha256") != file_hash(weights_path(cfg)):
        reason = "it was fitted to other weights"
    elif found.get("prune") != cfg.MODEL.PRUNE:
        reason = f"it was fitted with MODEL.PRUNE={found.get('prune')}"
    temperature = Temperature(tuple(values), uses_sigmoids(cfg))
    if cfg.VERBOSE and say_so:
        if reason:
            say(f"{path.name} is not used: {reason}. Fit it again with calibrate.py, or remove it.")
        else:
            say(f"probabilities calibrated: temperature {temperature} of {path.name}; off with TEMPERATURE.APPLY=False")
    return None if reason else temperature


def read_temperature(path: Path, classes: int) -> tuple[dict[str, Any], list[float]]:
    """What a file holds, and its temperatures.

    Raises:
        UserError: it cannot be read, or does not hold 1 or `classes` numbers above 0.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        values = [float(value) for value in found["temperature"]]
        if len(values) not in (1, classes) or not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"temperature must be 1 or {classes} numbers above 0")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}. TEMPERATURE.APPLY=False does without.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}). Run calibrate.py again, remove the file, or set "
            "TEMPERATURE.APPLY=False."
        ) from None
    return found, values
