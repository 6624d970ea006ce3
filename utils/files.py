"""Paths of the config, lists of files, and files that appear only when they are whole."""

import contextlib
import os
import tempfile
from pathlib import Path

from utils.errors import UserError


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
    if not os.access(folder, os.W_OK):
        raise UserError(f"{key}: cannot write to the folder {folder}: permission denied. Set another path.")
    return folder


@contextlib.contextmanager
def write_whole(path):
    """Give a temporary path in the same folder; it becomes `path` when the block ends well, else it vanishes.

        with write_whole("checkpoint/a.json") as temporary:
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
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
