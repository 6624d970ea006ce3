"""Files in the safetensors format: the length of a header, the header as JSON, the bytes of the arrays."""

import json
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import NonNegativeInt, TypeAdapter
from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12 on

from utils.base.errors import UserError

MOST_HEADER = 100_000_000  # bytes, the limit of the format itself
BFLOAT16 = "BF16"  # the first half of the bytes of a float32
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", BFLOAT16: "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


class Entry(TypedDict):
    """An array of the header."""

    dtype: str
    shape: list[NonNegativeInt]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]


HEADER = TypeAdapter(dict[str, Entry])


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """`{name: array}` of a file.

    Raises:
        UserError: it is damaged, or claims arrays that it does not hold.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MOST_HEADER, size - 8):
            raise UserError(f"The weights {path} are no safetensors file, or it is cut off.")
        try:
            found = json.loads(file.read(length))
            arrays = {name: entry for name, entry in found.items() if name != "__metadata__"}
            header = HEADER.validate_python(arrays)
        except (ValueError, AttributeError, RecursionError):
            raise UserError(f"The weights {path} are damaged: the header is not as the format has it.") from None
        return {name: read_array(file, 8 + length, size, name, entry, path) for name, entry in header.items()}


def read_array(file: BinaryIO, start: int, size: int, name: str, entry: Entry, path: Path) -> np.ndarray:
    """The array of an entry, from the bytes after `start`.

    Raises:
        UserError: another number of bytes than the shape needs, or more than the file has; an unknown type.
    """
    begin, end = (start + offset for offset in entry["data_offsets"])
    if entry["dtype"] not in DTYPES:
        raise UserError(f"The weights {path} hold {name} as {entry['dtype']}; {', '.join(DTYPES)} can be read.")
    dtype = np.dtype(DTYPES[entry["dtype"]])
    if end > size or end - begin != math.prod(entry["shape"]) * dtype.itemsize:
        raise UserError(f"The weights {path} are damaged: {name} claims other bytes than the file holds.")
    file.seek(begin)
    array = np.frombuffer(file.read(end - begin), dtype)
    return (as_float32(array) if entry["dtype"] == BFLOAT16 else array).reshape(entry["shape"])


def as_float32(halves: np.ndarray) -> np.ndarray:
    """bfloat16, given as integers of 16 bits, as float32.

    >>> as_float32(np.array([0x3FC0, 0xC000], np.uint16)).tolist()
    [1.5, -2.0]
    """
    return (halves.astype(np.uint32) << 16).view(np.float32)
