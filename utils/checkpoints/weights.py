"""Weights on disk: written atomically with a checksum, checked before Keras reads them. Imports no Keras."""

import hashlib
import math
import sys
import warnings
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from utils.base.backups import list_backups
from utils.base.errors import UserError
from utils.base.files import atomic_write, reserve
from utils.checkpoints.paths import archive_previous_run, weights_path
from utils.checkpoints.saved_config import save_config

if TYPE_CHECKING:
    import h5py
    import keras

CHECKSUM = "sha256"  # attribute of a weights file: the checksum of its arrays
HDF5_OVERHEAD = 8192  # bytes per array in an HDF5 file, more than it needs


def save_weights(network: "keras.Model", path: Path, backups: int = 0) -> None:
    """Write the weights of a model to `path` (ends in .weights.h5), with a checksum in the file.

    An interrupted write leaves the old file. The last `backups` versions are kept.
    """
    with atomic_write(path, backups) as temporary:
        write_weights(network, temporary)


def save_first_weights(network: "keras.Model", cfg: DictConfig, path: Path) -> None:
    """Write the first weights of a run and its config, and rename those of an earlier run.

    If it is killed or the disk is full, there still are weights with their config: these or the earlier run's.
    """
    with atomic_write(path) as temporary:
        write_weights(network, temporary)
        archive_previous_run(path, cfg.RUN)
        save_config(cfg, path)


def write_weights(network: "keras.Model", path: Path) -> None:
    """Let Keras write the weights, then add the checksum of all arrays to the file."""
    import h5py

    reserve(path.parent, sum(math.prod(variable.shape) * 4 + HDF5_OVERHEAD for variable in network.variables))
    network.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.attrs[CHECKSUM] = checksum_of(file)


def checksum_of(file: "h5py.File") -> str:
    """SHA-256, as hexadecimal text, of names, types, shapes and bytes of all arrays of an open HDF5 file."""
    import h5py

    total = hashlib.sha256()

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            total.update(f"{name} {item.dtype.str} {item.shape} ".encode())
            total.update(item[()].tobytes())

    file.visititems(add)
    return total.hexdigest()


def load_weights(network: "keras.Model", cfg: DictConfig) -> None:
    """Load the weights that `cfg` names. If they are corrupt, the previous version is used, with a warning.

    Raises:
        UserError: there are none, or they belong to another model.
    """
    path = weights_path(cfg)
    if not path.exists():
        raise UserError(f"No weights at {path}. Train first, or set MODEL.WEIGHTS_FILE_NAME.")
    problems: list[UserError] = []
    for candidate in (path, *list_backups(path)):
        try:
            load_file(network, cfg, candidate)
        except UserError as error:
            problems.append(error)
            continue
        if problems:
            print(f"Warning: {problems[0]} {candidate.name}, the version before it, is used.", file=sys.stderr)
        return
    raise problems[0]


# What a corrupt file, or one of another model, raises: h5py the first four, Keras the others (its warnings about parts
# that the file lacks are turned into errors).
UNREADABLE = (OSError, RuntimeError, SystemError, KeyError, ValueError, TypeError, Warning)


def load_file(network: "keras.Model", cfg: DictConfig, path: Path) -> None:
    """Load one weights file.

    Raises:
        UserError: it cannot be read, is corrupt, or is of another model.
    """
    try:
        check_weights_file(path)
        with warnings.catch_warnings():
            # Keras only warns about parts of a model that the file lacks; they would stay untrained.
            warnings.simplefilter("error")
            network.load_weights(path)
    except UserError:
        raise
    except (PermissionError, MemoryError) as error:
        raise UserError(f"The weights {path} cannot be read: {error}") from None
    except UNREADABLE as error:
        reason = str(error).strip().splitlines() or [""]
        raise UserError(
            f"The weights {path} do not fit MODEL.TYPE={cfg.MODEL.TYPE} with {cfg.OUTPUT.CLASSES} classes, "
            f"or the file is damaged ({type(error).__name__}: {shorten(reason[0], 120)})."
        ) from None


def check_weights_file(path: Path) -> None:
    """Refuse a weights file that links to other files, claims arrays that it does not hold, or has a wrong checksum.

    Raises:
        UserError: says which entry.
    """
    import h5py

    size = path.stat().st_size
    problems: list[str] = []

    def check(name: str, link: object) -> None:
        if not isinstance(link, h5py.HardLink):
            problems.append(f"{name} is a link to elsewhere, not an array")
            return
        item = file[name]
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual or item.nbytes > size):
            problems.append(f"{name} claims {item.nbytes:,} bytes that the file does not hold")

    with h5py.File(path, "r") as file:
        file.visititems_links(check)
        if problems:
            raise UserError(f"The weights {path} are refused: {problems[0]}.")
        if file.attrs.get(CHECKSUM, "") not in ("", checksum_of(file)):
            raise UserError(f"The weights {path} are damaged: their checksum is wrong.")
