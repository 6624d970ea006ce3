"""State dicts that `torch.save` wrote, read without torch and without running what the file may ask for.

Such a file is a zip archive: `data.pkl` says by a pickle which arrays there are, `data/0`, `data/1`, ... are their
bytes. A pickle is a program. This one may build dictionaries, lists, tuples, numbers and text, and name what stands in
KNOWN, where each name is a few lines of this module. Everything else is refused before it is imported or called.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.base.errors import UserError
from utils.checkpoints.foreign.safetensors import as_float32

MOST_PICKLE = 64_000_000  # bytes of data.pkl; that of a network has some ten thousand
BFLOAT16 = "BFloat16Storage"
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    BFLOAT16: "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# What a damaged or hostile pickle raises, beside the refusals of this module.
UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    NotImplementedError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Storage:
    """The type of the numbers of an array, by the name of torch's class."""

    name: str


@dataclass(frozen=True)
class Bytes:
    """An array of one axis in the archive."""

    values: np.ndarray


class Refused(Exception):
    """A file asks for what this module does not do."""


def rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *unused: Any) -> np.ndarray:
    """The array that lies so in its bytes."""
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Bytes) or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("not a tensor")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    # Overlapping elements, by strides of 0, could stand for any number of bytes.
    if math.prod(shape) > storage.values.size or (0 not in shape and last >= storage.values.size):
        raise ValueError("a tensor claims more than its bytes")
    size = storage.values.itemsize
    return np.lib.stride_tricks.as_strided(storage.values[offset:], shape, [stride * size for stride in strides])


def rebuild_parameter(data: Any, *unused: Any) -> np.ndarray:
    """A parameter is its tensor."""
    if not isinstance(data, np.ndarray):
        raise ValueError("not a parameter")
    return data


# (module, name) in a pickle -> what it stands for here
KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    **{("torch", name): Storage(name) for name in STORAGES},
}


class StateDictUnpickler(pickle.Unpickler):
    """Reads `data.pkl`; the bytes of the arrays come from the archive."""

    def __init__(self, file: io.BytesIO, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self.archive, self.folder = archive, folder
        self.read: dict[str, Bytes] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise Refused(f"it asks for {module}.{name}, and only arrays in dictionaries are read")
        return KNOWN[module, name]

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
        UserError: it holds more than arrays and plain values (a whole model, an optimizer of another library), is
            damaged, or is of the form before torch 1.6.
    """
    try:
        return find_arrays(load(path))
    except Refused as error:
        reason = str(error)
    except UNREADABLE as error:
        reason = f"it is damaged, or no zip archive of torch.save ({type(error).__name__})"
    raise UserError(
        f"The weights {path} are refused: {reason}. Save them from where they are trusted: "
        "torch.save(model.state_dict(), 'weights.pt'), or safetensors.torch.save_file(model.state_dict(), "
        "'weights.safetensors')."
    )


def load(path: Path) -> Any:
    """What the pickle builds, of plain values and arrays."""
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
        return StateDictUnpickler(io.BytesIO(archive.read(pickles[0])), archive, folder).load()


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
