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

from utils.base.files import file_hash, write_json
from utils.devices.machine import described, usable_cores

LIMIT = 2**28  # bytes in a folder; beyond, the oldest files go
CHECKSUMS = "checksums.json"


def keep_compilations(package: str) -> None:
    """Let a backend that has not started yet keep what it compiles, and find what earlier processes kept.

    Nothing is done where the environment already names a folder for it, where the user has none of his own, or where
    its disk is full.

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
    except (OSError, RuntimeError, PackageNotFoundError):  # another process may have removed a file, too
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


def fingerprint() -> str:
    """What compiled code depends on beside the program: instructions of the processor, usable cores, XLA's flags."""
    instructions = described(Path("/proc/cpuinfo"), "flags", "Features") or platform.processor()
    facts = (platform.system(), platform.machine(), instructions, usable_cores(), os.environ.get("XLA_FLAGS", ""))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def is_private(folder: Path) -> bool:
    """Whether nobody but this user can write there."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def remove_unknown(folder: Path) -> None:
    """Remove files that `record` did not see, or not as they are, and the oldest of more than LIMIT bytes.

    What another process compiled since it started is among them: it has it in memory, and the next compiles it anew.
    """
    known = checksums(folder)
    kept, total = {}, 0
    for path in sorted(files(folder), key=lambda path: path.stat().st_mtime, reverse=True):
        found, size = file_hash(path), path.stat().st_size
        if found == known.get(path.name) and total + size <= LIMIT:
            kept[path.name] = found
            total += size
        else:
            path.unlink(missing_ok=True)
    if kept != known:
        write_json(folder / CHECKSUMS, kept)


def record(folder: Path) -> None:
    """Note the checksums of what is there, as the process ends."""
    try:
        known = checksums(folder)
        found = {path.name: known.get(path.name) or file_hash(path) for path in files(folder)}
        if found != known:
            write_json(folder / CHECKSUMS, found)
    except OSError:
        pass  # the folder is full, or another process removed a file: the next compiles anew


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
