"""`<name>.state.npz`: all that a run consists of at the end of a step, as plain arrays and JSON. No code in it can run.

It holds the variables of network, optimizer and metrics (loss scale, accumulated gradients, moving averages, random
seeds), epoch and step, and the state of every callback that has one. Sampling and crops follow from seed and epoch.

The file may come from elsewhere. What it may set is declared here and by each callback, with types; a path is never
among it. Everything else in the file is ignored.
"""

import json
import operator
import sys
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, NotRequired

import keras
import numpy as np
from pydantic import ConfigDict, NonNegativeInt, PositiveInt, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12 on

from utils.base.backups import list_versions
from utils.base.errors import UserError
from utils.base.files import atomic_write

STATE = ".state.npz"
METADATA = "about"  # the member of the archive that holds the metadata
LogName = Annotated[str, StringConstraints(pattern=r"^\w[\w ./-]*$", max_length=200)]  # a column of the log
LogValues = dict[LogName, int | float]  # losses and scores of an epoch


class SavedHyperParameters(TypedDict):
    """HYPER_PARAMETERS of the interrupted run; the other keys are only compared with those of this run."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    EPOCHS: PositiveInt


class SavedConfig(TypedDict):
    """The config of the interrupted run. Only RUN is taken from it, everything else is compared with this run."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    RUN: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,64}$")] | None
    HYPER_PARAMETERS: SavedHyperParameters


class SavedData(TypedDict):
    """A digest of the training data, see `utils.training.resume.describe_data`."""

    samples: NonNegativeInt
    names: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,64}$")]


class Metadata(TypedDict):
    """What a state file holds beside arrays."""

    epoch: NonNegativeInt
    step: NonNegativeInt
    finished: bool
    config: SavedConfig
    callbacks: dict[str, dict[str, Any]]  # {state_key: {attribute: value}}; each callback checks its own
    devices: NotRequired[PositiveInt]  # states of early versions have neither this
    data: NotRequired[SavedData]  # nor this


METADATA_TYPE = TypeAdapter(Metadata)


class TrainingState(NamedTuple):
    """What a state file holds.

    Attributes:
        metadata: epoch and step to resume with, `finished`, the config, the states of the callbacks, a digest of the
            data.
        arrays: the values of all variables.
    """

    metadata: Metadata
    arrays: list[np.ndarray]


class StatefulCallback(keras.callbacks.Callback):
    """A callback that remembers something from epoch to epoch, which a resumed run has to know.

    Attributes:
        state_key: the name of its entry in the state file. Do not change it: files of earlier versions use it.
        remembered: {name in the state: its type, as pydantic takes it}; everything else in a file is ignored. Never a
            path: a state file from elsewhere could choose what is written, and where.
    """

    state_key: ClassVar[str]
    remembered: ClassVar[Mapping[str, Any]]

    def state(self) -> dict[str, Any]:
        """What to save: the names of `remembered`, with values that JSON can hold, NumPy scalars included."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state()` returned. Files of earlier versions may lack a name."""
        raise NotImplementedError

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Restore what is declared, and nothing else, from an entry of a state file.

        Raises:
            UserError: a value is missing or has another type than declared.
        """
        state = {}
        for name in self.remembered.keys() & saved.keys():
            try:
                state[name] = TypeAdapter(self.remembered[name]).validate_python(saved[name], strict=True)
            except (ValidationError, RecursionError) as error:
                reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "too deep"
                raise self.refused(name, reason) from None
        try:
            self.restore(state)
        except KeyError as error:
            raise self.refused(error.args[0], "missing") from None

    def refused(self, name: str, reason: str) -> UserError:
        """The error for an entry that training did not write."""
        return UserError(
            f"The state is refused: {name} of {self.state_key} is not what training saves ({reason}). Start over with "
            "RESUME=never."
        )


# What a corrupt file raises: not an archive, a wrong checksum, a member missing or of another form, arrays or nesting
# that do not fit in memory. A ValidationError is a ValueError.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    NotImplementedError,
    AttributeError,
    MemoryError,
    OverflowError,
    RecursionError,
    SyntaxError,
)


def read_state(path: Path) -> TrainingState | None:
    """Read a state file. If it is corrupt, warn and read the previous version; None if there is none to read."""
    for candidate in list_versions(path):
        try:
            return read_state_file(candidate)
        except PermissionError as error:
            raise UserError(
                f"The state {candidate} may not be read: {error.strerror}. Change its permissions."
            ) from None
        except UNREADABLE:
            print(f"Warning: the state {candidate} is corrupt and was skipped.", file=sys.stderr)
    return None


def read_state_file(path: Path) -> TrainingState:
    """Read one state file; what it raises is in UNREADABLE."""
    with zipfile.ZipFile(path) as archive:
        # A state is not compressed. A few bytes of a compressed member could become any number in memory.
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("compressed")
    with np.load(path, allow_pickle=False) as file:
        metadata = parse_metadata(file)
        arrays = [file[f"v{number}"] for number in range(len(file.files) - 1)]
    return TrainingState(metadata, arrays)


def parse_metadata(file: Mapping[str, np.ndarray]) -> Metadata:
    """The metadata of an open state file; what it raises is in UNREADABLE."""
    return METADATA_TYPE.validate_python(json.loads(bytes(file[METADATA]).decode()), strict=True)


def find_outdated(path: Path, metadata: Mapping[str, Any], every: int | None) -> list[Path]:
    """The versions of a state that a run without interruption would not have beside the one of `metadata`.

    They are damaged, or of the same run and written again, or saved because the run was told to stop.

    Args:
        every: steps between states within an epoch, or None.
    """
    outdated = []
    for version in list_versions(path):
        try:
            with np.load(version, allow_pickle=False) as file:
                saved = parse_metadata(file)
        except UNREADABLE:
            outdated.append(version)
            continue
        again = (saved["epoch"], saved["step"]) >= (metadata["epoch"], metadata["step"])
        on_demand = saved["step"] % every != 0 if every else saved["step"] > 0
        if saved["config"]["RUN"] == metadata["config"]["RUN"] and (again or on_demand):
            outdated.append(version)
    return outdated


def write_state(
    path: Path,
    metadata: Mapping[str, Any],
    arrays: Sequence[np.ndarray],
    backups: int,
    outdated: Collection[Path] = (),
) -> None:
    """Write a state file in one step, and keep so many previous versions of it but for those `outdated`.

    Raises:
        OSError: it could not be written; the previous file is still there.
    """
    text = json.dumps(metadata, default=operator.methodcaller("item"))
    members: dict[str, Any] = {METADATA: np.frombuffer(text.encode(), np.uint8)}
    members |= {f"v{number}": array for number, array in enumerate(arrays)}
    with atomic_write(path, backups, outdated) as temporary, open(temporary, "wb") as file:
        np.savez(file, **members)
