"""DATASET.CACHE: decoded samples, kept in memory or in a folder, so that later epochs do not decode.

A cache keeps image uint8 or uint16 `(height, width, channels)` and mask, resized if PREPROCESS_DATA.RESIZE says so, but
without crop and augmentation. It decodes a sample again when size or time of one of its files has changed, and writes a
damaged file of the cache again.
"""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from omegaconf import DictConfig

from data_generators.files.cloud import is_remote, remote_stamp
from data_generators.files.image_file import ImageFile, ImageParts, parts_of
from data_generators.files.tfrecord import Bounds, decode_example, encode_example, read_records, write_records
from data_generators.files.tfrecord_index import ShardEntry
from data_generators.reading.tiff_pages import TiffPageFile
from utils.base.errors import UserError
from utils.base.files import atomic_write, writable_folder

MEMORY = "memory"
FORMAT = 1  # of the files in a folder; with another number, all files are written again
METADATA = "about"  # name of the feature that holds shapes, types and stamps

Files = Sequence[ImageFile | None]
Arrays = Sequence[np.ndarray | None]


class SampleCache(Protocol):
    """Keeps the decoded arrays of samples; called from several threads."""

    def __call__(self, files: Files, settings: str, decode: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of a sample, decoded now or earlier.

        Args:
            files: what the sample is read from; None where one is missing.
            settings: text that changes with everything that decoding depends on, besides the files.
            decode: decodes the arrays; None where one is missing.
        """


def make_cache(cfg: DictConfig) -> SampleCache | None:
    """The cache of DATASET.CACHE, or None."""
    if cfg.DATASET.CACHE is None:
        return None
    if cfg.DATASET.CACHE == MEMORY:
        return MemoryCache()
    return FolderCache(writable_folder(cfg, cfg.DATASET.CACHE, "DATASET.CACHE"))


class MemoryCache:
    """Keeps the arrays in the memory of this process."""

    def __init__(self) -> None:
        self.samples: dict[tuple[str, ...], tuple[list, Arrays]] = {}

    def __call__(self, files: Files, settings: str, decode: Callable[[], Arrays]) -> Arrays:
        # The stamp is taken before decoding: if a file changes meanwhile, it is decoded again next time.
        key, stamp = (str(list(map(names_of, files))), settings), stamp_of(files)
        found = self.samples.get(key)
        if found is not None and found[0] == stamp:
            return found[1]
        arrays = decode()
        for array in arrays:
            if array is not None:
                array.flags.writeable = False
        self.samples[key] = stamp, arrays
        return arrays


class FolderCache:
    """Keeps the arrays of each sample in a file: one record, with its checksum, of shapes, types and bytes.

    Args:
        folder: where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_full, self.lock = False, threading.Lock()

    def __call__(self, files: Files, settings: str, decode: Callable[[], Arrays]) -> Arrays:
        path, stamp = self.path_of(files, settings), stamp_of(files)
        arrays = read_arrays(path, stamp)
        if arrays is None:
            arrays = decode()
            self.write(path, stamp, arrays)
        return arrays

    def path_of(self, files: Files, settings: str) -> Path:
        """The file of a sample."""
        names = [names_of(file, absolute=True) for file in files]
        digest = hashlib.sha256(json.dumps([*names, settings, FORMAT]).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:]}.sample"

    def write(self, path: Path, stamp: list, arrays: Arrays) -> None:
        """Write the file of a sample; warn once if that fails, and stop writing."""
        if self.is_full:
            return
        kinds = [array is not None and [array.dtype.str, array.shape] for array in arrays]
        features = {METADATA: json.dumps({"stamp": stamp, "arrays": kinds}).encode()}
        features |= {f"array{n}": array.tobytes() for n, array in enumerate(arrays) if array is not None}
        try:
            with atomic_write(path) as temporary, open(temporary, "wb") as file:
                write_records(file, [encode_example(features)])
        except OSError as error:
            with self.lock:
                warned, self.is_full = self.is_full, True
            if not warned:
                print(
                    f"Warning: DATASET.CACHE={self.folder}: {error.strerror}; samples that are not in it yet are "
                    "decoded in each epoch.",
                    file=sys.stderr,
                )


def read_arrays(path: Path, stamp: list) -> Arrays | None:
    """The arrays in a file of the cache; None if it is missing or damaged, or if the images have changed."""
    try:
        with open(path, "rb") as file:
            (_, data) = next(read_records(path, file))
        bounds = decode_example(data)
        metadata = json.loads(data[slice(*bounds[METADATA])])
        if metadata["stamp"] != json.loads(json.dumps(stamp)):
            return None
        return tuple(
            array_at(data, bounds[f"array{n}"], *kind) if kind else None for n, kind in enumerate(metadata["arrays"])
        )
    except (OSError, UserError, StopIteration, LookupError, ValueError, TypeError):
        return None


def array_at(data: bytes, bounds: Bounds, dtype: str, shape: Iterable[int]) -> np.ndarray:
    """The array between bounds, without a copy of its bytes."""
    start, end = bounds
    return np.frombuffer(memoryview(data)[start:end], dtype).reshape(tuple(shape))


def names_of(file: ImageFile | None, absolute: bool = False) -> str | list[str] | None:
    """The name of a file, or those of the parts of an image of several files; absolute: whole paths."""
    if file is None:
        return None
    names = [os.path.abspath(str(part)) if absolute and not is_remote(part) else str(part) for part in parts_of(file)]
    return names if isinstance(file, ImageParts) else names[0]


def stamp_of(files: Files) -> list[list[int]]:
    """What changes when a file changes: its size and time; of an entry of a shard those of the shard, and its place."""
    return [
        [number for part in ([] if file is None else parts_of(file)) for number in stamp_of_file(part)]
        for file in files
    ]


def stamp_of_file(file: ImageFile) -> list[int]:
    path, stamp = str(file), []
    if isinstance(file, ShardEntry):
        path, stamp = file.shard, [file.offset, file.length]
    elif isinstance(file, TiffPageFile):
        path, stamp = str(file.path), [file.page]
    if is_remote(path):
        return [*stamp, *remote_stamp(path)]
    try:
        found = os.stat(path)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}.") from None
    return [*stamp, found.st_size, found.st_mtime_ns]
