"""State dicts that `torch.save` wrote, read without torch: `utils.checkpoints.foreign.state_dict`.

Such a file is a zip archive: `data.pkl` says by a pickle which arrays there are, `data/0`, `data/1`, ... are their
bytes.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from utils.base.errors import UserError
from utils.checkpoints.foreign.safetensors import as_float32
from utils.checkpoints.foreign.state_dict import (
    BFLOAT16,
    STORAGES,
    UNREADABLE,
    Bytes,
    Refused,
    StateDictUnpickler,
    Storage,
)
from utils.checkpoints.foreign.torch_legacy import START, load_legacy

MOST_PICKLE = 64_000_000  # bytes of data.pkl; that of a network has some ten thousand


class ArchiveUnpickler(StateDictUnpickler):
    """The bytes of the arrays come from the archive."""

    def __init__(self, file: io.BytesIO, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self.archive, self.folder = archive, folder

    def persistent_load(self, pid: Any) -> Bytes:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, Storage) or type(key) is not str or type(count) is not int:
            raise ValueError("not a storage")
        if key not in self.read:
            dtype = np.dtype(STORAGES[storage.name])
            values = np.frombuffer(self.archive.read(f"{self.folder}/data/{key}"), dtype)
            if count != values.size:
                raise ValueError("a storage has another size than it claims")
            self.read[key] = Bytes(as_float32(values) if storage.name == BFLOAT16 else values)
        return self.read[key]


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """`{name: array}` of a file that `torch.save` wrote of a state dict, alone or as an entry of a dictionary.

    Raises:
        UserError: it holds more than arrays and plain values (a whole model, for example), or is damaged.
    """
    try:
        return find_arrays(load(path))
    except Refused as error:
        reason = str(error)
    except UNREADABLE as error:
        reason = f"it is damaged, or torch.save did not write it ({type(error).__name__})"
    raise UserError(
        f"The weights {path} are refused: {reason}. Save them from where they are trusted: "
        "torch.save(model.state_dict(), 'weights.pt'), or safetensors.torch.save_file(model.state_dict(), "
        "'weights.safetensors')."
    )


def load(path: Path) -> Any:
    """What the pickle builds, of plain values and arrays."""
    with open(path, "rb") as file:
        if file.read(len(START)) == START:
            return load_legacy(path)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # torch.save does not compress. A few bytes of a compressed member could become any number in memory.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise Refused("its members are compressed, which torch.save does not do")
        pickles = [member for member in members if member.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > MOST_PICKLE:
            raise Refused("it has no data.pkl of a state dict")
        folder = pickles[0].filename.removesuffix("/data.pkl")
        if f"{folder}/byteorder" in archive.namelist() and archive.read(f"{folder}/byteorder") != b"little":
            raise Refused("it was written by a big-endian machine")
        return ArchiveUnpickler(io.BytesIO(archive.read(pickles[0])), archive, folder).load()


def find_arrays(found: Any) -> dict[str, np.ndarray]:
    """The state dict among what was read: itself, or the one entry that is one (`state_dict`, `model`, ...)."""
    if not isinstance(found, dict):
        raise Refused("it holds no dictionary of arrays")
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray) and isinstance(name, str)}
    if arrays:
        return arrays
    inner = [value for value in found.values() if isinstance(value, dict)]
    candidates = [value for value in inner if any(isinstance(entry, np.ndarray) for entry in value.values())]
    if len(candidates) != 1:
        raise Refused(f"it holds {len(candidates) or 'no'} dictionaries of arrays, and one is needed")
    return find_arrays(candidates[0])
