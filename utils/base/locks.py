"""One process at a time: a lock on what a command is about to write, held by the process and not by a file.

The lock is that of `fcntl.lockf` on an open file, which the system takes back however the process ends, which forked
children do not inherit, and which NFS knows. The file only says whose it is: one that a crash left locks nothing.
"""

import contextlib
import errno
import fcntl
import functools
import json
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from utils.base.errors import UserError
from utils.base.files import new_folders

P = ParamSpec("P")
R = TypeVar("R")

HELD: dict[Path, int] = {}  # lock files of this process with their descriptors; the system locks between processes only
NOT_SUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
MAX_OWNER = 4096  # bytes read of a lock file


def lock_path(path: Path) -> Path:
    """The lock file beside a file or folder.

    >>> lock_path(Path("checkpoint/model_unet")).name
    '.model_unet.lock'
    """
    name = os.fsencode(path.name)[:200]  # names have 255 bytes at most
    return path.with_name(f".{os.fsdecode(name)}.lock")


def lock(file: Path, what: str) -> None:
    """Lock a file, which is created, until `release` or the end of the process.

    Raises:
        UserError: another process, or this one, has locked it; names host and process. Or it is a link or a folder.
        OSError: the file cannot be created.
    """
    file = real_path(file)
    if file in HELD:
        raise UserError(message(what, {"host": socket.gethostname(), "process": os.getpid()}))
    while True:
        descriptor = open_lock(file)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = read_owner(descriptor)
            os.close(descriptor)
            if error.errno not in NOT_SUPPORTED:
                raise UserError(message(what, owner)) from None
            warning = f"Warning: {file.parent} has no locks ({error.strerror}): let no other process write {what}."
            print(warning, file=sys.stderr)
            return
        if is_same_file(descriptor, file):
            break
        os.close(descriptor)  # its owner removed it between opening and locking: lock the one that is there now
    HELD[file] = descriptor
    owner = {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def release(file: Path) -> None:
    """Remove a lock file of this process and unlock it, in this order: nobody locks a file that is about to go."""
    file = real_path(file)
    descriptor = HELD.pop(file, None)
    if descriptor is None:
        return
    with contextlib.suppress(OSError):
        if is_same_file(descriptor, file):
            file.unlink()
    os.close(descriptor)


def real_path(file: Path) -> Path:
    """The path of a lock file without links in its folder; one that is a link itself is not followed."""
    return Path(os.path.realpath(file.parent), file.name)


def open_lock(file: Path) -> int:
    """Open or create a lock file; never what a link, which may come from elsewhere, leads to."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR):
            raise
        raise UserError(f"{file}: a link or a folder stands where the lock file belongs. Remove it.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{file}: is no ordinary file, as a lock file is. Remove it.")
    return descriptor


@contextlib.contextmanager
def locked(file: Path, what: str) -> Iterator[None]:
    """Hold a lock for a block, see `lock`."""
    lock(file, what)
    try:
        yield
    finally:
        release(file)


@contextlib.contextmanager
def locked_output(folders: Iterable[Path]) -> Iterator[None]:
    """Create folders of a dataset and keep other preparations out of them for a block; see `lock`, `new_folders`."""
    wanted = sorted(set(folders))
    with new_folders(wanted), contextlib.ExitStack() as stack:
        for folder in wanted:
            stack.enter_context(locked(folder / ".prepare.lock", f"the dataset in {folder}"))
        yield


def releases_locks(task: Callable[P, R]) -> Callable[P, R]:
    """Release what `task` locked when it ends, however it ends."""

    @functools.wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        before = set(HELD)
        try:
            return task(*args, **kwargs)
        finally:
            for file in HELD.keys() - before:
                release(file)

    return run


def is_same_file(descriptor: int, file: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def read_owner(descriptor: int) -> dict[str, object]:
    """What the owner of a lock wrote; empty if it has not written yet."""
    try:
        owner = json.loads(os.pread(descriptor, MAX_OWNER, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def message(what: str, owner: dict[str, object]) -> str:
    """Say who holds a lock and what to do."""
    host, process, since = (ascii(owner.get(key, "?")).strip("'")[:80] for key in ("host", "process", "since"))
    return (
        f"Another process writes {what}: process {process} on {host}, since {since}. Wait until it ends, stop it, or "
        "write elsewhere."
    )
