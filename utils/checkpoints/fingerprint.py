"""The fingerprint of the training set beside weights, `<name>.fingerprint.json`. Imports no Keras."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.files import write_json
from utils.checkpoints.paths import companion_path, weights_path

ENDING = ".fingerprint.json"
KEYS = ("images", "height", "width", "bits", "channels", "quantiles", "intensities", "spacing_mm")


def save_fingerprint(weights: Path, fingerprint: Mapping[str, Any] | None) -> None:
    """Write the fingerprint of a training set beside its weights, unless it is there."""
    path = companion_path(weights, ENDING)
    if fingerprint is None or path.exists():
        return
    write_json(path, fingerprint)


def load_fingerprint(cfg: DictConfig) -> dict[str, Any] | None:
    """The fingerprint beside the weights of a restored config; None if there is none.

    Raises:
        UserError: the file is damaged.
    """
    path = companion_path(weights_path(cfg), ENDING)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        sides = [found["height"], found["width"], *(found["spacing_mm"] or ())]
        sides += [one for channel in found["intensities"] for one in channel]
        if not all(float(low) <= float(high) for low, high in sides) or any(key not in found for key in KEYS):
            raise ValueError("ranges must ascend")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}). Remove it to predict without comparing the "
            "images with those of the training."
        ) from None
    return found
