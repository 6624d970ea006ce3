"""State dicts in the form that `torch.save` had before torch 1.6: pickles one after another, then bytes of the arrays.

The pickles are a number that marks the form, its version, facts about the machine, the state dict, and the order of the
storages; each storage is its number of elements, in 8 bytes, and its elements.
"""

import os
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from utils.checkpoints.foreign.state_dict import BFLOAT16, STORAGES, Bytes, Refused, StateDictUnpickler, Storage

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickle of MAGIC


class LegacyUnpickler(StateDictUnpickler):
    """Arrays get their place when they are named; `fill` reads their elements, which stand behind the pickles."""

    def __init__(self, file: BufferedReader) -> None:
        super().__init__(file)
        self.left = os.fstat(file.fileno()).st_size

    def persistent_load(self, pid: Any) -> Bytes:
        kind, storage, key, _, count, view = pid
        if kind != "storage" or not isinstance(storage, Storage) or type(key) is not str or type(count) is not int:
            raise ValueError("not a storage")
        if view is not None or storage.name == BFLOAT16:
            raise Refused("its arrays are parts of one another, or bfloat16, in the form before torch 1.6")
        if key not in self.read:
            dtype = np.dtype(STORAGES[storage.name])
            self.left -= count * dtype.itemsize
            if count < 0 or self.left < 0:
                raise ValueError("a storage claims more than the file holds")
            self.read[key] = Bytes(np.empty(count, dtype))
        return self.read[key]


def load_legacy(path: Path) -> Any:
    """What the pickles build, of plain values and arrays. Raises Refused, and what damaged pickles raise."""
    with open(path, "rb") as file:
        if (LegacyUnpickler(file).load(), LegacyUnpickler(file).load()) != (MAGIC, VERSION):
            raise Refused("it was not written by torch.save")
        machine = LegacyUnpickler(file).load()
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise Refused("it was written by a big-endian machine")
        unpickler = LegacyUnpickler(file)
        found = unpickler.load()
        keys = LegacyUnpickler(file).load()
        if not isinstance(keys, list) or sorted(keys) != sorted(unpickler.read):
            raise ValueError("the storages are not those of the arrays")
        for key in keys:
            fill(unpickler.read[key].values, file)
    return found


def fill(values: np.ndarray, file: BufferedReader) -> None:
    """Read the elements of a storage."""
    if int.from_bytes(file.read(8), "little") != values.size or file.readinto(values.data.cast("B")) != values.nbytes:
        raise EOFError("a storage is cut off")
