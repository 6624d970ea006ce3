"""OPTIMIZATION.KEEP_COMPILED: what XLA compiles is kept on this machine, so that the next start does not wait for it.

TensorFlow and JAX can both read compiled code from a folder, and trust what they find there. So the folder is one that
the user alone can write, never one that comes with data or weights, and a file that is not as it was left is removed
before they look: after a power cut TensorFlow would stop at half a file.
"""

import atexit
import hashlib
import json
import os
import platform
import shutil
import stat
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from utils.base.files import write_json

LIMIT = 2**28  # bytes in a folder; beyond, the oldest files go
CHECKSUMS = "checksums.json"


def keep_compilations(package: str) -> None:
    """Let a backend that has not started yet keep what it compiles, and find what earlier processes kept.

    Nothing is done where the environment already names a folder for it, or where the user has none of his own.

    Args:
        package: tensorflow | jax.
    """
    flags = os.environ.get("TF_XLA_FLAGS", "")  # or the name of a file of them
    if (
        os.environ.get("JAX_COMPILATION_CACHE_DIR")
        or "persistent_cache" in flags
        or (flags and not flags.strip().startswith("--"))
    ):
        return
    try:
        own = cache_home() / "unet-family"
        own.parent.mkdir(parents=True, exist_ok=True)
        folder = own / f"compiled-{package}-{version(package)}-{fingerprint()}"
        for new in (own, folder):
            new.mkdir(mode=0o700, exist_ok=True)
            if not is_private(new):
                return
        # TensorFlow takes no spaces, and stops a training whose compiled code it cannot write.
        if " " in str(folder) or not os.access(folder, os.W_OK) or shutil.disk_usage(folder).free < LIMIT:
            return
        remove_unknown(folder)
    except (OSError, RuntimeError, PackageNotFoundError):
        return
    atexit.register(record, folder)
    if package == "jax":
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    else:  # on a CPU alone: there Winograd convolutions are compiled
        kept = f"--tf_xla_persistent_cache_directory={folder} --tf_xla_persistent_cache_device_types=CPU"
        os.environ["TF_XLA_FLAGS"] = f"{flags} {kept}".strip()


def cache_home() -> Path:
    """Where programs of this user keep what can be made again.

    Raises:
        RuntimeError: he has no home.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def fingerprint(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What compiled code depends on beside the program: instructions of the processor, usable cores, XLA's flags."""
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    instructions = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = (platform.system(), platform.machine(), instructions, cores, os.environ.get("XLA_FLAGS", ""))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def is_private(folder: Path) -> bool:
    """Whether nobody but this user can write there; on Windows that is so in his home."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


def remove_unknown(folder: Path) -> None:
    """Remove files that `record` did not see, or not as they are, and the oldest of more than LIMIT bytes.

    What another process compiled since it started is among them: it has it in memory, and the next compiles it anew.
    """
    known = checksums(folder)
    kept, total = {}, 0
    for path in sorted(files(folder), key=modified, reverse=True):
        content = read(path)
        found = checksum(content)
        if found == known.get(path.name) and total + len(content) <= LIMIT:
            kept[path.name] = found
            total += len(content)
        else:
            path.unlink(missing_ok=True)
    if kept != known:
        write_json(folder / CHECKSUMS, kept)


def record(folder: Path) -> None:
    """Note the checksums of what is there, as the process ends."""
    try:
        known = checksums(folder)
        found = {path.name: known.get(path.name) or checksum(read(path)) for path in files(folder)}
        if found != known:
            write_json(folder / CHECKSUMS, found)
    except OSError:
        pass  # the folder is gone or full: the next process compiles anew


def files(folder: Path) -> list[Path]:
    """Those of compiled code; another process may be about to rename its `.tmp`."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != CHECKSUMS and not path.name.startswith(".") and path.suffix != ".tmp"
    ]


def checksums(folder: Path) -> dict[str, str]:
    """`{name: SHA-256}` as `record` wrote it; nothing where it cannot be read."""
    try:
        found = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read(path: Path) -> bytes:
    """What is in a file; nothing where another process has removed it."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
