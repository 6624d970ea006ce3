"""Earlier versions of a file, kept beside it: `m.older1.weights.h5` is the newest of them. And earlier folders."""

import filecmp
import os
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path


def backup_path(path: Path, number: int) -> Path:
    """Where an earlier version is kept; 1 is the newest.

    >>> backup_path(Path("m.weights.h5"), 1).name
    'm.older1.weights.h5'
    """
    stem, kind, ending = path.name.rsplit(".", 2)
    return path.with_name(f"{stem}.older{number}.{kind}.{ending}")


def list_backups(path: Path) -> list[Path]:
    """The earlier versions that exist, newest first."""
    stem, kind, ending = path.name.rsplit(".", 2)
    pattern = re.compile(rf"{re.escape(stem)}\.older(\d+)\.{re.escape(kind)}\.{re.escape(ending)}")
    found = {other: match for other in path.parent.glob("*") if (match := pattern.fullmatch(other.name))}
    return sorted(found, key=lambda backup: int(found[backup][1]))


def list_versions(path: Path) -> list[Path]:
    """The file and its earlier versions, those that exist, newest first."""
    return [version for version in (path, *list_backups(path)) if version.exists()]


def find_repeated(new: Path, path: Path) -> list[Path]:
    """The versions that a resumed run writes once more: the one that equals `new`, and those that came after it."""
    versions = list_versions(path)
    same = [number for number, version in enumerate(versions) if filecmp.cmp(version, new, shallow=False)]
    return versions[: same[-1] + 1] if same else []


def replace_keeping_backups(new: Path, path: Path, count: int, outdated: Collection[Path] = ()) -> None:
    """Move `new` to `path`, and keep the last `count` versions before it.

    A run that is killed at any moment, resumes and writes the same again leaves the versions that it leaves otherwise.
    `path` exists at any moment, where the file system has hard links.

    Args:
        outdated: versions to drop in place of keeping them, beside those of `find_repeated`.
    """
    dropped = {*outdated, *find_repeated(new, path)}
    newest = backup_path(path, 1)
    if not path.exists() or path in dropped:
        os.replace(new, path)
        keep_only(path, [backup for backup in list_backups(path) if backup not in dropped][:count], first=1)
        return
    if newest.exists() and newest.samefile(path):  # killed between the last two lines of this function
        newest.unlink()
    keep_only(path, [backup for backup in list_backups(path) if backup not in dropped][: count - 1], first=2)
    try:
        os.link(path, newest)
    except OSError:  # a file system without hard links
        os.replace(path, newest)
    os.replace(new, path)


def keep_only(path: Path, backups: Sequence[Path], first: int) -> None:
    """Remove all other backups and number these from `first` on. Killed at any moment, it leaves them in order."""
    for backup in list_backups(path):
        if backup not in backups:
            backup.unlink()
    moves = [(backup, backup_path(path, number)) for number, backup in enumerate(backups, first)]
    rising = [(old, new) for old, new in moves if number_of(new) > number_of(old)]
    falling = [(old, new) for old, new in moves if number_of(new) < number_of(old)]
    for old, new in [*reversed(rising), *falling]:
        os.replace(old, new)


def number_of(backup: Path) -> int:
    """The number in the name of a backup.

    >>> number_of(Path("m.older12.weights.h5"))
    12
    """
    return int(backup.name.rsplit(".", 3)[1].removeprefix("older"))


def list_previous_folders(folder: Path) -> list[Path]:
    """The earlier folders `<folder>.previous<n>`, the oldest first."""
    pattern = re.compile(rf"{re.escape(folder.name)}\.previous(\d+)")
    found = {path: match for path in folder.parent.glob("*") if (match := pattern.fullmatch(path.name))}
    return sorted(found, key=lambda path: int(found[path][1]))


def keep_previous_folder(folder: Path, count: int | None) -> tuple[Path | None, list[Path]]:
    """Rename a folder to `<folder>.previous<n>`, and remove all of these but the newest.

    Args:
        folder: exists.
        count: how many earlier folders are there afterwards; 0: this one is removed, and those before stay; None: all.

    Returns:
        The new name, None if none is kept, and the folders that were removed.
    """
    earlier = list_previous_folders(folder)
    if count == 0:
        shutil.rmtree(folder)
        return None, []
    excess = [] if count is None else earlier[: max(0, len(earlier) + 1 - count)]
    for old in excess:
        shutil.rmtree(old)
    for number, old in enumerate(earlier[len(excess) :], 1):  # numbers only fall, so that names are free
        old.replace(folder.with_name(f"{folder.name}.previous{number}"))
    return folder.replace(folder.with_name(f"{folder.name}.previous{len(earlier) - len(excess) + 1}")), excess
