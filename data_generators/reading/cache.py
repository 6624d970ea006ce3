"""DATASET.CACHE: samples as they are decoded, kept in memory or in a folder, so that later epochs do not decode.

What is kept: image uint8 or uint16 `(height, width, channels)` and mask, of the size of the file (or resized, where
PREPROCESS_DATA.RESIZE says so), before crop and augmentation. A sample is decoded again when size or time of one of its
files has changed; a file of the cache that is damaged is written again.
"""

import hashlib
import json
import os
import sys
import threading

import numpy as np

from data_generators.files.tfrecord import decode_example, encode_example, read_records, write_records
from utils.base.errors import UserError
from utils.base.files import writable_folder, write_whole

MEMORY = "memory"
FORM = 1  # of the files; another number makes all old ones be written again


def make_cache(cfg):
    """The cache of DATASET.CACHE, or None: callable `(files, settings, decode) -> arrays`, from several threads.

    `files` are what the sample is read from, paths or entries of shards (None where one is missing), `settings` is text
    that changes with everything that decoding depends on, and `decode` makes the arrays (None where one is missing).
    """
    if cfg.DATASET.CACHE is None:
        return None
    if cfg.DATASET.CACHE == MEMORY:
        return MemoryCache()
    return FolderCache(writable_folder(cfg, cfg.DATASET.CACHE, "DATASET.CACHE"))


class MemoryCache:
    """Keep the arrays in the memory of this process."""

    def __init__(self):
        self.kept = {}

    def __call__(self, files, settings, decode):
        key, stamp = (*map(str, files), settings), stamp_of(files)
        found = self.kept.get(key)
        if found is None or found[0] != stamp:
            # The stamp from before decoding: a file that changes meanwhile is read again next time.
            found = self.kept[key] = stamp, decode()
            for array in found[1]:
                if array is not None:
                    array.flags.writeable = False
        return found[1]


class FolderCache:
    """Keep the arrays of each sample in a file: one record, with its checksum, of shapes, types and bytes."""

    def __init__(self, folder):
        self.folder = folder
        self.is_full, self.lock = False, threading.Lock()

    def __call__(self, files, settings, decode):
        names = [None if file is None else os.path.abspath(file) if is_local(file) else str(file) for file in files]
        digest = hashlib.sha256(json.dumps([*names, settings, FORM]).encode()).hexdigest()
        path, stamp = self.folder / digest[:2] / f"{digest[2:]}.sample", stamp_of(files)
        arrays = read_arrays(path, stamp)
        if arrays is None:
            arrays = decode()
            self.write(path, stamp, arrays)
        return arrays

    def write(self, path, stamp, arrays):
        if self.is_full:
            return
        about = {"stamp": stamp, "arrays": [a is not None and [a.dtype.str, a.shape] for a in arrays]}
        parts = {f"array{n}": a.tobytes() for n, a in enumerate(arrays) if a is not None}
        try:
            with write_whole(path) as temporary, open(temporary, "wb") as file:
                write_records(file, [encode_example({"about": json.dumps(about).encode(), **parts})])
        except OSError as error:
            with self.lock:
                told, self.is_full = self.is_full, True
            if not told:
                print(
                    f"Warning: DATASET.CACHE={self.folder}: {error.strerror}; samples that are not in it yet are "
                    "decoded in each epoch.",
                    file=sys.stderr,
                )


def read_arrays(path, stamp):
    """The arrays of a file of the cache; None where there is none, it is damaged, or the pictures have changed."""
    try:
        with open(path, "rb") as file:
            (_, data) = next(read_records(path, file))
        bounds = decode_example(data)
        about = json.loads(data[slice(*bounds["about"])])
        if about["stamp"] != json.loads(json.dumps(stamp)):
            return None
        return tuple(
            array_at(data, *kind, *bounds[f"array{n}"]) if kind else None for n, kind in enumerate(about["arrays"])
        )
    except (OSError, UserError, StopIteration, LookupError, ValueError, TypeError):
        return None


def array_at(data, dtype, shape, start, end):
    return np.frombuffer(memoryview(data)[start:end], dtype).reshape(shape)


def stamp_of(files):
    """Size and time of each file; of an entry of a shard those of the shard, and where it lies in it."""
    stamps = []
    for file in files:
        place = [] if file is None or not hasattr(file, "shard") else [file.offset, file.length]
        path = getattr(file, "shard", file)
        if path is not None and is_local(file):
            try:
                found = os.stat(path)
            except OSError as error:
                raise UserError(f"{file}: cannot be read: {error.strerror}.") from None
            place += [found.st_size, found.st_mtime_ns]
        stamps.append(place)
    return stamps


def is_local(file):
    return "://" not in str(file)
