"""Paths of the config, lists of files, and files that appear only when they are whole."""

import contextlib
import glob
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from utils.base.errors import UserError


def resolve_path(cfg, path):
    """Return the absolute path of a config value: below WORK_DIR, leading slash or not.

    Where that does not exist, a value that is an absolute path is taken as it stands, if it or the folder that holds it
    exists. Reading and writing follow the same rule, so that what a run writes is where the next one looks.
    """
    below = Path(cfg.WORK_DIR).resolve() / str(path).lstrip("/")
    as_written = Path(path)
    parent = as_written.parent
    there = as_written.exists() or (parent != Path("/") and parent.exists())
    return as_written if as_written.is_absolute() and there and not below.exists() else below


def is_list_file(value):
    return str(value).lower().endswith(".txt")


def read_list(path):
    """The files that a text file lists, one a line; relative ones are taken from the folder of that file.

    Raises:
        UserError: it cannot be read, or is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"the list {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"the list {path} is not text in UTF-8.") from None
    return [Path(os.path.abspath(path.parent / line.strip())) for line in lines if line.strip()]


def check_writable(cfg, path, key):
    """Find out early, without creating anything, whether a folder can be written to.

    Raises:
        UserError: it cannot; names the config key.
    """
    folder = resolve_path(cfg, path)
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(
            f"{key}: cannot write to the folder {folder}: permission denied at {nearest}. Set another path."
        )


def writable_folder(cfg, path, key):
    """Return the absolute path of a folder to write to, and create it.

    Raises:
        UserError: it cannot be created or written to; names the config key.
    """
    folder = resolve_path(cfg, path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{key}: cannot create the folder {folder}: {error.strerror}. Set another path.") from None
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:  # rights alone do not tell: quotas, read-only devices
            probe.write(b"0")
    except OSError as error:
        raise UserError(f"{key}: cannot write to the folder {folder}: {error.strerror}. Set another path.") from None
    return folder


@contextlib.contextmanager
def new_folders(folders):
    """Create folders, and those above them, for a block; where it fails, the new ones that are still empty go again."""
    wanted = {Path(folder) for folder in folders}
    missing = {one for folder in wanted for one in (folder, *folder.parents) if not one.exists()}
    try:
        for folder in wanted:
            folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in sorted(missing, reverse=True):  # what lies in another comes first
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()
        raise


def check_space(folder, needed, key, advice):
    """Raise a UserError where the file system of a folder has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{key}: the disk of {folder} has {free / 1e6:,.1f} MB free, this run needs {needed / 1e6:,.1f} MB. "
            f"{advice}"
        )


def reserve(folder, size):
    """Raise an OSError where so many bytes cannot be written now.

    For files that HDF5 writes: it does not survive a disk that is full in the middle of one.
    """
    with tempfile.TemporaryFile(dir=folder) as probe:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(probe.fileno(), 0, size)
        else:
            probe.write(bytes(size))


def remove_leftovers(path):
    """Remove the temporary files of `atomic_write` that killed runs left of a file; nobody else may be writing it."""
    name = path.name.split(".", 1)[0]
    for leftover in path.parent.glob(f".{glob.escape(name)}.*"):
        if leftover.is_file() and re.fullmatch(r"[a-z0-9_]{8}(\.\w+)+", leftover.name.removeprefix(f".{name}.")):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def warn_if_not_saved(what):
    """Let a run go on where a file cannot be written: a full disk costs that file, not the training.

    Args:
        what: the file in a few words, "the log".

    Gives a list, which holds the error afterwards where there was one.
    """
    errors = []
    try:
        yield errors
    except (OSError, RuntimeError) as error:  # HDF5 reports a full disk as either
        errors.append(error)
        number = re.search(r"errno = (\d+)", str(error))  # so HDF5 tells it
        reason = os.strerror(int(number.group(1))) if number else getattr(error, "strerror", None) or str(error)
        print(f"\nWarning: {what} could not be saved ({reason}); the run goes on.", file=sys.stderr)


def backup_path(path, number):
    """Where the version before is, or with a higher number the one before that: `m.older1.weights.h5`."""
    stem, kind, ending = path.name.rsplit(".", 2)
    return path.with_name(f"{stem}.older{number}.{kind}.{ending}")


def list_backups(path):
    """The versions before that are there, the newest first."""
    stem, kind, ending = path.name.rsplit(".", 2)
    number = re.compile(rf"{re.escape(stem)}\.older(\d+)\.{re.escape(kind)}\.{re.escape(ending)}")
    found = [(match, older) for older in path.parent.glob("*") if (match := number.fullmatch(older.name))]
    return [older for _, older in sorted(found, key=lambda entry: int(entry[0].group(1)))]


def rotate_backups(path, count):
    """Keep a file that is about to be replaced as the newest of `count` older ones. At any moment `path` is there."""
    for older in list_backups(path):
        if older not in [backup_path(path, number) for number in range(1, count)]:
            older.unlink()
    if count < 1 or not path.exists():
        return
    for number in range(count - 1, 0, -1):
        if backup_path(path, number).exists():
            os.replace(backup_path(path, number), backup_path(path, number + 1))
    try:
        os.link(path, backup_path(path, 1))
    except OSError:  # a file system without links
        os.replace(path, backup_path(path, 1))


@contextlib.contextmanager
def atomic_write(path, backups=0):
    """Give a temporary path in the same folder; it becomes `path` when the block ends well, else it vanishes.

    The last `backups` versions are kept, see `backup_path`.

        with atomic_write("checkpoint/a.json") as temporary:
            temporary.write_text(...)

    The temporary name keeps the ending(s) of `path`, which libraries use to choose the format.
    """
    path = Path(path)
    name = path.name.split(".", 1)
    suffix = "." + name[1] if len(name) > 1 else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{name[0]}.", suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(temporary)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes the file private; give it the rights an ordinary new file has.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        if backups:
            rotate_backups(path, backups)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
