"""What lies at a path that a user typed, by names alone, and the two patterns that pair volumes with segmentations."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from data_generators.files.found_files import IMAGE_SUFFIXES
from data_preparation.common.patterns import name_matches, without
from utils.base.errors import UserError
from utils.base.listing import is_hidden

MOST_FILES, DEEPEST = 400, 5  # that are looked at
NUMBER = re.compile(r"\d+")


class Seen(NamedTuple):
    """typed: the path as the user wrote it; real: the same, absolute; files: the first at or below it, absolute."""

    typed: Path
    real: Path
    files: list[Path]

    @classmethod
    def at(cls, path: str | Path) -> "Seen":
        real = Path(path).absolute()
        files = [real] if real.is_file() else []
        for file in walk(real, DEEPEST) if real.is_dir() else ():
            files.append(file)
            if len(files) == MOST_FILES:
                break
        return cls(Path(path), real, files)

    def ending(self, *endings: str) -> list[Path]:
        """The files with these endings, in lower case."""
        return [file for file in self.files if file.name.lower().endswith(endings)]

    @property
    def has_pictures(self) -> bool:
        """Whether a picture that training reads is in the folder itself."""
        return any(file.parent == self.real for file in self.ending(*IMAGE_SUFFIXES))

    def as_typed(self, folder: Path) -> Path:
        """An absolute path in the words of the user: relative, if the typed path is."""
        return folder if self.typed.is_absolute() else Path(os.path.relpath(folder))


def walk(folder: Path, depth: int) -> Iterator[Path]:
    """The files below a folder in the order of their names, its own first; none where it may not be read."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not is_hidden(entry.name) and entry.is_file():
            yield folder / entry.name
    for entry in entries:
        if depth > 1 and not is_hidden(entry.name) and entry.is_dir(follow_symlinks=False):
            yield from walk(folder / entry.name, depth - 1)


def pair_patterns(one: Sequence[Path], other: Sequence[Path]) -> tuple[Path, str, str] | None:
    """The folder and the two patterns by which `name_matches` gives the paths of both the same names, if there are any.

    Args:
        one, other: absolute paths, such as of volumes and of their segmentations.
    """
    root = Path(os.path.commonpath([path.parent for path in (*one, *other)]))
    for folder in (root, root.parent):
        parts, other_parts = ([path.relative_to(folder).parts for path in paths] for paths in (one, other))
        for first, second in (
            (varying(parts), varying(other_parts)),
            (numbered(parts), numbered(other_parts)),
            (below_any(parts), below_any(other_parts)),
        ):
            if first and second and match_alike(folder, first, second):
                return folder, first, second
    return None


def match_alike(folder: Path, first: str, second: str) -> bool:
    """Whether two patterns find something, under the same names."""
    try:
        taken = name_matches(folder, second)
        return bool(taken) and without(name_matches(folder, first), taken).keys() == taken.keys()
    except UserError:
        return False


def varying(paths: Sequence[tuple[str, ...]]) -> str | None:
    """A pattern with `*` for what differs from path to path, up to a character between words.

    >>> varying([("a", "a_ct.nii"), ("b", "b_ct.nii")]), varying([("volume-10.nii",), ("volume-11.nii",)])
    ('*/*_ct.nii', 'volume-*.nii')
    """
    if len({len(path) for path in paths}) != 1:
        return None
    parts = []
    for names in zip(*paths, strict=True):
        if len(set(names)) == 1:
            parts.append(names[0])
            continue
        start = re.sub(r"[^\W_]+$", "", shared_start(names))
        end = shared_start([name[len(start) :][::-1] for name in names])[::-1]
        parts.append(start + "*" + re.sub(r"^[^\W_]+", "", end))
    return "/".join(parts)


def shared_start(names: Sequence[str]) -> str:
    """The characters with which all names begin.

    >>> shared_start(["volume-10", "volume-11"])
    'volume-1'
    """
    first, last = min(names), max(names)
    return first[: next((at for at, letter in enumerate(first) if last[at : at + 1] != letter), len(first))]


def numbered(paths: Sequence[tuple[str, ...]]) -> str | None:
    """A pattern with `*` for the last number in the name of a file, if all names then are the same.

    >>> numbered([("volume-0.nii",)])
    'volume-*.nii'
    """
    found = set()
    for *folders, name in paths:
        numbers = list(NUMBER.finditer(name))
        if not numbers:
            return None
        found.add("/".join([*folders, f"{name[: numbers[-1].start()]}*{name[numbers[-1].end() :]}"]))
    return found.pop() if len(found) == 1 else None


def below_any(paths: Sequence[tuple[str, ...]]) -> str | None:
    """A pattern with `*` for the first folder of a path, if all paths then are the same.

    >>> below_any([("anna", "CT"), ("bert", "CT")])
    '*/CT'
    """
    found = {"/".join(["*", *rest]) for _, *rest in paths if rest}
    return found.pop() if len(found) == 1 and all(len(path) > 1 for path in paths) else None
