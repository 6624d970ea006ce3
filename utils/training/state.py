"""`<name>.state.npz`: all that a run consists of at the end of a step, as plain arrays and JSON. No code in it can run.

It holds the variables of network, optimizer and metrics (loss scale, accumulated gradients, moving averages, random
seeds), epoch and step, and the state of every callback that has one. Sampling and crops follow from seed and epoch.
"""

import json
import operator
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from utils.base.files import atomic_write, list_backups

STATE = ".state.npz"
METADATA = "about"  # the member of the archive that holds the metadata
REQUIRED = {"epoch", "step", "finished", "config", "callbacks"}


class TrainingState(NamedTuple):
    """What a state file holds.

    Attributes:
        metadata: epoch and step to resume with, `finished`, the config, the states of the callbacks
            `{state_key: {name: value}}`, a digest of the data.
        arrays: the values of all variables.
    """

    metadata: dict[str, Any]
    arrays: list[np.ndarray]


class StatefulCallback(keras.callbacks.Callback):
    """A callback that remembers something from epoch to epoch, which a resumed run has to know.

    Attributes:
        state_key: the name of its entry in the state file. Do not change it: files of earlier versions use it.
    """

    state_key: str

    def state(self) -> dict[str, Any]:
        """What to save: names and values that JSON can hold, NumPy scalars included."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state()` returned. Files of earlier versions may lack a name."""
        raise NotImplementedError


def read_state(path: Path) -> TrainingState | None:
    """Read a state file. If it is corrupt, warn and read the previous version; None if there is none to read."""
    for candidate in (path, *list_backups(path)):
        if not candidate.exists():
            continue
        try:
            with np.load(candidate, allow_pickle=False) as file:
                metadata = json.loads(bytes(file[METADATA]).decode())
                arrays = [file[f"v{number}"] for number in range(len(file.files) - 1)]
            if metadata.keys() >= REQUIRED:
                return TrainingState(metadata, arrays)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, AttributeError):
            """Not an archive, a wrong checksum, or a member missing."""
        print(f"Warning: the state {candidate} is corrupt and was skipped.", file=sys.stderr)
    return None


def write_state(path: Path, metadata: dict[str, Any], arrays: Sequence[np.ndarray], backups: int) -> None:
    """Write a state file in one step, and keep so many previous versions of it.

    Raises:
        OSError: it could not be written; the previous file is still there.
    """
    text = json.dumps(metadata, default=operator.methodcaller("item"))
    members: dict[str, Any] = {METADATA: np.frombuffer(text.encode(), np.uint8)}
    members |= {f"v{number}": array for number, array in enumerate(arrays)}
    with atomic_write(path, backups) as temporary, open(temporary, "wb") as file:
        np.savez(file, **members)
