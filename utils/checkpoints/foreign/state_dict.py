"""The pickle of a state dict, read without torch and without running what it may ask for.

A pickle is a program. This one may build dictionaries, lists, tuples, numbers and text, and name what stands in KNOWN,
where each name is a few lines of this module. Everything else is refused before it is imported or called.
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

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


# What a damaged or hostile pickle or its file raises, beside Refused.
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


class Storage(NamedTuple):
    """The type of the numbers of an array, by the name of torch's class."""

    name: str


class Bytes(NamedTuple):
    """An array of one axis."""

    values: np.ndarray


class Refused(Exception):
    """A file asks for what is not done here."""


# A pickle may change attributes of what it has. So these are objects without any.
class RebuildTensor:
    """Makes the array that lies so in its bytes."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *unused: Any) -> np.ndarray:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, Bytes) or any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("not a tensor")
        values = storage.values
        last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        # Overlapping elements, by strides of 0, could stand for any number of bytes.
        if math.prod(shape) > values.size or (0 not in shape and last >= values.size):
            raise ValueError("a tensor claims more than its bytes")
        steps = [stride * values.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(values[offset:], shape, steps)


class RebuildParameter:
    """A parameter is its tensor."""

    __slots__ = ()

    def __call__(self, data: Any, *unused: Any) -> np.ndarray:
        if not isinstance(data, np.ndarray):
            raise ValueError("not a parameter")
        return data


# (module, name) in a pickle -> what it stands for here
KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): RebuildParameter(),
    **{("torch", name): Storage(name) for name in STORAGES},
}


class StateDictUnpickler(pickle.Unpickler):
    """Reads a pickle of torch; where the bytes of the arrays are, its subclasses know.

    Attributes:
        read: {key of a storage: its elements}.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.read: dict[str, Bytes] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise Refused(f"it asks for {module}.{name}, and only arrays in dictionaries are read")
        return KNOWN[module, name]
