"""Paths of the config, lists of files, atomic writes with backups, free space."""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from utils.base.addresses import refuse_address
from utils.base.backups import replace_keeping_backups
from utils.base.errors import UserError
from utils.base.text_files import AS_ON_DISK, MAX_NAME_BYTES, check_file_name, read_text, without_nan


def resolve_path(cfg: DictConfig, path: str | Path) -> Path:
    """Return the absolute path of a config value: below WORK_DIR, with or without a leading slash.

    If nothing is there, an absolute path is taken as it stands, provided that it or its parent folder exists. Reading
    and writing follow the same rule, so that the next run finds what this one writes.

    Raises:
        UserError: a URL, which would become a folder of that name.

    >>> from utils.config import load_config
    >>> str(resolve_path(load_config(["WORK_DIR=/tmp"]), "/data/images"))
    '/tmp/data/images'
    """
    refuse_address(path)
    refuse_address(cfg.WORK_DIR)
    below = Path(cfg.WORK_DIR).resolve() / str(path).lstrip("/")
    as_written = Path(path)
    parent = as_written.parent
    there = exists(as_written) or (parent != Path("/") and exists(parent))
    return as_written if as_written.is_absolute() and there and not exists(below) else below


def where_looked(cfg: DictConfig, path: str | Path) -> str:
    """Where `resolve_path` looked for what is not there, for the end of a message; what the current folder has instead.

    >>> from utils.config import load_config
    >>> where_looked(load_config(["WORK_DIR=/work"]), "/data/images")
    'looked at /work/data/images and /data/images'
    """
    below, here = Path(cfg.WORK_DIR).resolve() / str(path).lstrip("/"), Path(path).absolute()
    if Path(path).is_absolute():
        return " and ".join(dict.fromkeys([f"looked at {below}", str(here)]))
    if here != below and here.exists():
        return f"looked at {below}; there is {here}: type it in full, as relative paths are below WORK_DIR"
    return f"looked at {below}"


def exists(path: Path) -> bool:
    """Whether a path exists.

    Raises:
        UserError: a folder above it may not be entered.
    """
    try:
        return path.exists()
    except PermissionError as error:
        raise UserError(f"{path}: a folder above it may not be entered: {error.strerror}.") from None


def refuse_unreadable(path: Path, error: Exception) -> None:
    """Raise a UserError if the system kept a file from being read: that says nothing about what is in it."""
    if isinstance(error, OSError) and error.errno is not None:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_list_file(value: object) -> bool:
    """Whether a value names a text file that lists paths."""
    return str(value).lower().endswith(".txt")


def read_list(path: Path) -> list[Path]:
    """The paths in a text file, one per line; relative ones are relative to the folder of that file.

    Raises:
        UserError: it cannot be read, is not text in UTF-8 or UTF-16, or names something that cannot be a file.
    """
    try:
        return listed_paths(path, read_text(path))
    except UserError:
        # Names in another encoding, as a command wrote them: certain if each of them is there.
        data = path.read_bytes() if path.is_file() else b"\0"
        files = [] if b"\0" in data else listed_paths(path, data.decode("utf-8", AS_ON_DISK))
        if not files or not all(file.exists() for file in files):
            raise
        return files


def listed_paths(path: Path, text: str) -> list[Path]:
    """The paths in the text of a list file, see `read_list`."""
    lines = enumerate(text.splitlines(), start=1)
    names = [check_file_name(line.strip(), f"{path}, line {number}") for number, line in lines if line.strip()]
    for name in names:
        refuse_address(name)
    return [Path(os.path.abspath(path.parent / name)) for name in names]


def check_writable(cfg: DictConfig, path: str | Path, key: str) -> None:
    """Check early, without creating anything, that a folder can be written to.

    Raises:
        UserError: it cannot; names the config key.
    """
    check_folder_writable(resolve_path(cfg, path), key)


def check_folder_writable(folder: Path, key: str) -> None:
    """The same for an absolute path."""
    nearest = next(parent for parent in (folder, *folder.parents) if exists(parent))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = f"permission denied at {nearest}" if nearest.is_dir() else f"{nearest} is no folder"
        raise UserError(f"{key}: cannot write to the folder {folder}: {reason}. Set another path.")


def writable_folder(cfg: DictConfig, path: str | Path, key: str) -> Path:
    """Create a folder to write to, and return its absolute path.

    Raises:
        UserError: it cannot be created or written to; names the config key.
    """
    folder = resolve_path(cfg, path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{key}: cannot create the folder {folder}: {error.strerror}. Set another path.") from None
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:  # permissions are not enough: quotas, read-only devices
            probe.write(b"0")
    except OSError as error:
        raise UserError(f"{key}: cannot write to the folder {folder}: {error.strerror}. Set another path.") from None
    return folder


@contextlib.contextmanager
def new_folders(folders: Iterable[str | Path]) -> Iterator[None]:
    """Create folders and their parents for a block; if it fails, remove those of them that are still empty."""
    wanted = {Path(folder) for folder in folders}
    missing = {one for folder in wanted for one in (folder, *folder.parents) if not one.exists()}
    try:
        for folder in wanted:
            folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in sorted(missing, reverse=True):  # inner folders first
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        raise


def check_space(folder: Path, needed: float, key: str, advice: str) -> None:
    """Raise a UserError if the file system of a folder has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{key}: the disk of {folder} has {free / 1e6:,.1f} MB free, this run needs {needed / 1e6:,.1f} MB. "
            f"{advice}"
        )


def reserve(folder: Path, size: int) -> None:
    """Raise an OSError if so many bytes cannot be written now.

    For files that HDF5 writes, which crashes if the disk becomes full while it writes.
    """
    with tempfile.TemporaryFile(dir=folder) as probe:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(probe.fileno(), 0, size)
        else:
            probe.write(bytes(size))


def remove_leftovers(path: Path) -> None:
    """Remove what killed runs left behind in `atomic_write(path)`; no other process may be writing it."""
    prefix = f".{path.name.split('.', 1)[0]}."
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*"):
        if leftover.is_file() and re.fullmatch(r"[a-z0-9_]{8}(\.\w+)+", leftover.name.removeprefix(prefix)):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def staging_folder(folder: Path, name: str) -> Iterator[Path]:
    """A hidden folder for files that are moved into `folder` when all are complete; removed at the end of the block.

    What killed runs left behind is removed, too. The folder of a running process is locked, and stays.

    Args:
        folder: existing folder.
        name: the staging folder is called `.name.` and eight random characters.
    """
    for leftover in folder.glob(f".{glob.escape(name)}.????????"):
        with contextlib.suppress(BlockingIOError), locked_folder(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
    with locked_folder(staging):
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder for this process; BlockingIOError if another holds it. A killed process loses its locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def warn_if_not_saved(what: str) -> Iterator[list[Exception]]:
    """Let a run continue if a file cannot be written: a full disk costs that file, not the training.

    Args:
        what: the file in a few words, "the log".

    Yields a list that contains the error afterwards, if there was one.
    """
    errors: list[Exception] = []
    try:
        yield errors
    except (OSError, RuntimeError) as error:  # HDF5 reports a full disk as either
        errors.append(error)
        number = re.search(r"errno = (\d+)", str(error))  # the wording of HDF5
        reason = os.strerror(int(number.group(1))) if number else getattr(error, "strerror", None) or str(error)
        print(f"\nWarning: {what} could not be saved ({reason}); the run goes on.", file=sys.stderr)


@contextlib.contextmanager
def atomic_write(
    path: str | Path, backups: int = 0, outdated: Collection[Path] = (), sync: bool = True
) -> Iterator[Path]:
    """Yield a temporary path in the same folder. It becomes `path` if the block succeeds, else it is removed.

    The last `backups` versions are kept but for those `outdated`, see `utils.base.backups`. With `sync`, which
    takes milliseconds, it outlives a power cut; of many files only the last needs it, after `os.sync`.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(f"{folder}/a.json") as temporary:
    ...         _ = temporary.write_text("{}")
    ...     Path(folder, "a.json").read_text()
    '{}'

    The temporary name keeps the endings of `path`, which tell libraries the format, and is as short as can be.
    """
    path = Path(path)
    name = path.name.split(".", 1)
    prefix, suffix = f".{name[0]}.", "." + name[1] if len(name) > 1 else ""
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES - len(".12345678."):
        prefix, suffix = ".", suffix[-30:]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, created = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(created)
    try:
        yield temporary
        if sync:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.umask(mask := os.umask(0))
        os.chmod(temporary, 0o666 & ~mask)  # of an ordinary new file; mkstemp makes it private
        if backups:
            replace_keeping_backups(temporary, path, backups, outdated)
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically; null for each number that is not finite.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(Path(folder, "a.json"), {"dice": float("nan")})
    ...     json.loads(Path(folder, "a.json").read_text())
    {'dice': None}
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(without_nan(value), indent=2, allow_nan=False), encoding="utf-8")
