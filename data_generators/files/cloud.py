"""Shards in cloud storage, and what lies beside them: whatever TensorFlow's `tf.io.gfile` opens, such as gs://.

TensorFlow is imported only for these.
"""

import contextlib
import errno
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from utils.base.errors import UserError


def address(path: str | Path) -> str:
    """A path as it is opened: of one in cloud storage the URL, of whose two slashes a `Path` keeps one.

    >>> address(Path("gs://bucket/shards"))
    'gs://bucket/shards'
    """
    return re.sub(r"^([A-Za-z][\w+.-]+):/(?!/)", r"\1://", str(path))


def is_remote(file: object) -> bool:
    """Whether a path, or the shard of an entry, is a URL such as gs://bucket/train-00000.tfrec."""
    return "://" in str(file)


def tensorflow_for(url: str) -> ModuleType:
    """TensorFlow, which opens a URL.

    Raises:
        UserError: it is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError:
        raise UserError(
            f"{url}: TensorFlow opens cloud storage, and is not installed here. Copy the shards to a disk, or mount "
            "the bucket as a folder, and name that; or run pip install -r requirements.txt."
        ) from None
    return tf


@contextlib.contextmanager
def cloud_errors(url: str) -> Iterator[None]:
    """Turn the errors of TensorFlow about a URL into a UserError; that nothing is there into a FileNotFoundError."""
    tf = tensorflow_for(url)
    try:
        yield
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from None
    except tf.errors.UnimplementedError:
        scheme, local = url.partition("://")[0], {"", "file", "ram"}
        known = ", ".join(f"{name}://" for name in sorted({*tf.io.gfile.get_registered_schemes()} - local))
        raise UserError(
            f"{url}: TensorFlow opens {known}, not {scheme}://. Copy the shards to a disk, or mount the bucket as a "
            "folder, and name that."
        ) from None
    except tf.errors.OpError as error:
        reason = str(error.message).splitlines()[0] if error.message else type(error).__name__
        raise UserError(f"{url}: cannot be read: {reason[:200]}. Check the address and who may read it.") from None


def find_remote(pattern: str) -> list[str]:
    """The files in cloud storage that a pattern matches."""
    tf = tensorflow_for(pattern)
    with cloud_errors(pattern):
        try:
            return tf.io.gfile.glob(pattern)
        except tf.errors.NotFoundError:
            return []


@contextlib.contextmanager
def open_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file on disk or in cloud storage for reading.

    Raises:
        OSError: it is not there, or cannot be read from a disk.
        UserError: it cannot be read from cloud storage.
    """
    url = address(path)
    if not is_remote(url):
        with open(path, "rb") as file:
            yield file
        return
    tf = tensorflow_for(url)
    with cloud_errors(url), tf.io.gfile.GFile(url, "rb") as remote:
        yield remote


@functools.lru_cache(maxsize=10_000)
def remote_stamp(url: str) -> tuple[int, int]:
    """Size and time of a file in cloud storage, which are looked up once."""
    tf = tensorflow_for(url)
    with cloud_errors(url):
        found = tf.io.gfile.stat(url)
    return found.length, found.mtime_nsec
