"""What an evaluation found out about the expected Dice: how much Dice it stands for, and which masks to look at.

`evaluate.py` writes it beside the weights, `predict.py` reads it. Imports no Keras.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.files import file_hash, write_json
from utils.base.terminal import say
from utils.checkpoints.paths import companion_path, weights_path
from utils.checkpoints.temperature import describe_temperatures
from utils.inference.uncertainty.members import count_members

ENDING, ENDING_OF_SEVERAL = ".review.json", ".ensemble.review.json"
IMAGE, VOLUME = "image", "volume"  # kinds of cases
ROUNDING = 1e-5  # the curve has six digits, and other batches give other rounding errors


class Curve(NamedTuple):
    """What Dice cases of some expected Dice had: both ascend, between them it is interpolated, beyond them constant.

    >>> Curve([0.5, 0.7, 0.9], [0.2, 0.6, 0.9]).predict(0.6)
    0.4
    """

    expected: Sequence[float]
    dice: Sequence[float]

    def predict(self, expected: float) -> float:
        """The Dice that an expected Dice stands for."""
        return round(float(np.interp(expected, self.expected, self.dice)), 10)


class Learnt(NamedTuple):
    """The curve of each kind of cases, and the key REVIEW_DICE.

    Example:
        >>> learnt = Learnt({"image": Curve([0.5, 0.9], [0.2, 0.9])}, below=0.7)
        >>> learnt.judge(0.6, is_volume=False), learnt.judge(0.4, is_volume=False), learnt.judge(0.6, is_volume=True)
        ((0.375, True), (0.2, True), (None, None))
    """

    curves: Mapping[str, Curve]
    below: float

    def judge(self, expected: float, is_volume: bool) -> tuple[float | None, bool | None]:
        """The Dice that is predicted for a case, and whether to look at its mask.

        That is where the prediction is below `below`, and where the expected Dice is lower than any that was seen. None
        where nothing was learnt about this kind of cases.
        """
        curve = self.curves.get(VOLUME if is_volume else IMAGE)
        if curve is None:
            return None, None
        predicted = curve.predict(expected)
        return predicted, predicted < self.below or expected < curve.expected[0] - ROUNDING


def flag_text(flag: bool | None) -> str:
    """What tables say of a flag; nothing where none was learnt.

    >>> flag_text(True), flag_text(False), flag_text(None)
    ('review', 'ok', '')
    """
    return "" if flag is None else ("review" if flag else "ok")


def learnt_path(members: Sequence[DictConfig]) -> Path:
    """Where it is: beside the weights of the first network."""
    return companion_path(weights_path(members[0]), ENDING if len(members) == 1 else ENDING_OF_SEVERAL)


def setting_of(members: Sequence[DictConfig]) -> dict[str, Any]:
    """What the numbers of cases depend on, beside the images."""
    cfg = members[0]
    predict = cfg.PREDICT
    thresholds = predict.POSTPROCESS.THRESHOLDS
    return {
        "MODEL.PRUNE": cfg.MODEL.PRUNE,
        "PREDICT.TTA": predict.TTA,
        "PREDICT.MC_SAMPLES": predict.MC_SAMPLES,
        "PREDICT.POSTPROCESS.THRESHOLDS": None if thresholds is None else list(thresholds),
        "temperature": describe_temperatures(members),
        "networks": len(members),
        "members": count_members(members),
    }


def save_learnt(members: Sequence[DictConfig], curves: Mapping[str, Curve], found: Mapping[str, Any]) -> Path:
    """Write the curves beside the weights, with what else was `found`."""
    entry = {
        **found,
        "curves": {kind: curve._asdict() for kind, curve in curves.items()},
        "setting": setting_of(members),
        "weights_sha256": [file_hash(weights_path(member)) for member in members],
        "learnt": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    path = learnt_path(members)
    write_json(path, entry)
    return path


def load_learnt(members: Sequence[DictConfig]) -> Learnt | None:
    """What was learnt with the weights and settings of restored configs, and a line that says so; else None.

    What was learnt with others is not used, and a line says that.

    Raises:
        UserError: the file is damaged.
    """
    if not members or members[0].PREDICT.UNCERTAINTY is None:
        return None
    cfg, path = members[0], learnt_path(members)
    if not path.exists():
        if cfg.VERBOSE:
            unseen = ', from images that none of them was trained on: "EVALUATION.SPLITS=[test]"' if members[1:] else ""
            say(f"no mask is flagged: evaluate.py with the same PREDICT settings learns which to look at{unseen}")
        return None
    curves, found = read_learnt(path)
    differing = [name for name, value in setting_of(members).items() if found["setting"].get(name) != value]
    reason = None
    if found.get("weights_sha256") != [file_hash(weights_path(member)) for member in members]:
        reason = "it was learnt with other weights"
    elif differing:
        known, now = found["setting"].get(differing[0]), setting_of(members)[differing[0]]
        reason = f"it was learnt with {differing[0]}={known}, not {now}"
    if cfg.VERBOSE:
        if reason:
            say(f"no mask is flagged by {path.name}: {reason}. Run evaluate.py with these settings.")
        else:
            kinds = " and ".join(f"{kind}s" for kind in curves)
            say(f"masks with a predicted Dice below {cfg.PREDICT.REVIEW_DICE:g} are flagged, by {path.name} ({kinds})")
    return None if reason else Learnt(curves, cfg.PREDICT.REVIEW_DICE)


def read_learnt(path: Path) -> tuple[dict[str, Curve], dict[str, Any]]:
    """The curves of a file, and all that it holds.

    Raises:
        UserError: it cannot be read, or holds no curves.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        curves = {
            kind: Curve(*(check_ascending(found["curves"][kind][name]) for name in Curve._fields))
            for kind in (IMAGE, VOLUME)
            if kind in found["curves"]
        }
        if any(len(curve.expected) != len(curve.dice) for curve in curves.values()):
            raise ValueError("expected and dice differ in length")
        found["setting"].get("members")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}. Remove it to do without.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}). Run evaluate.py again, or remove the file."
        ) from None
    return curves, found


def check_ascending(values: Sequence[float]) -> list[float]:
    """The values as floats; ValueError if there is none, or if they descend or are not finite."""
    numbers = [float(value) for value in values]
    if not numbers or not all(map(math.isfinite, numbers)) or numbers != sorted(numbers):
        raise ValueError("a curve must ascend")
    return numbers
