"""DATASET.CHANNELS and CLASS_MASKS: which files are the channels, or the masks of the classes, of which case.

A file belongs to a channel by the folder that it is in (`t1/case.png`), by the end of its name (`case_t1.png`,
`case/t1.png`), by a part of its name (`t1_case.png`, `sub-01_t1_axial.png`), or by a pattern for each channel
(`scans/*-T1.png`). What remains of its path is the name of the case.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from data_generators.files.image_file import ImageParts, composed

SEPARATORS = "_-. "
KINDS = {"DATASET.CHANNELS": "channel", "DATASET.CLASS_MASKS": "class"}  # what the names of a key are of


class Cases(NamedTuple):
    """The images of several files that were found.

    Attributes:
        images: one for each case that has all its channels.
        others: files of no channel.
        problems: a message for each that is there twice or not at all.
    """

    images: list[ImageParts]
    others: list[Path]
    problems: list[str]


def by_folder(channel: str, place: str) -> str | None:
    """The case of a file in a folder with the name of its channel.

    >>> by_folder("t1", "t1/case"), by_folder("t1", "case_t1")
    ('case', None)
    """
    *folders, name = place.split("/")
    if channel not in folders:
        return None
    folders.remove(channel)
    return case_of([*folders, name])


def by_end(channel: str, place: str) -> str | None:
    """The case of a file whose name ends in that of its channel.

    >>> by_end("t1", "case_t1"), by_end("t1", "case/t1"), by_end("t1", "case_t2")
    ('case', 'case', None)
    """
    separators = re.escape(SEPARATORS) + "/"
    match = re.fullmatch(rf"(.*[^{separators}])[{separators}]+{re.escape(channel)}", place)
    return case_of(match[1].split("/")) if match else None


def by_part(channel: str, place: str) -> str | None:
    """The case of a file whose name has that of its channel as a part.

    >>> by_part("t1", "t1_case"), by_part("t1", "case_t1_7"), by_part("t1", "case_t1ce_7")
    ('case', 'case_7', None)
    """
    *folders, name = place.split("/")
    match = re.search(rf"(?<![0-9A-Za-z]){re.escape(channel)}(?![0-9A-Za-z])", name)
    if match is None:
        return None
    before, after = name[: match.start()].rstrip(SEPARATORS), name[match.end() :]
    rest = before + after if before else after.lstrip(SEPARATORS)
    return case_of([*folders, rest] if rest else folders)


def by_pattern(channel: str, place: str) -> str | None:
    """The case of a file that matches the pattern of its channel: what `*` stands for.

    >>> by_pattern("t1/*_axial.png", "t1/case_axial.png"), by_pattern("t1/*_axial.png", "t2/case_axial.png")
    ('case', None)
    """
    expression = "(.*)".join(re.escape(part) for part in re.split(r"\*+", channel))
    match = re.fullmatch(expression, place)
    return case_of([part for text in match.groups() for part in text.split("/") if part]) if match else None


def case_of(parts: Sequence[str]) -> str | None:
    """The name of a case from the parts of a path; one that begins the next is not repeated.

    >>> case_of(["BraTS_1", "BraTS_1_7"]), case_of(["anna", "left"]), case_of([])
    ('BraTS_1_7', 'anna_left', None)
    """
    kept = [part for part, following in pairwise([*parts, ""]) if not begins(following, part)]
    return composed("_".join(kept)) or None


def begins(name: str, part: str) -> bool:
    """Whether a name is a part, or begins with it and a separator."""
    return name == part or (name.startswith(part) and name[len(part)] in SEPARATORS)


# How a file says of which channel it is -> function (channel, place) -> case or None. The place is the path from the
# folder of the images on, without the ending unless the channels are patterns. The first way that finds files of every
# channel is taken.
WAYS: dict[str, Callable[[str, str], str | None]] = {
    "a folder {0}": by_folder,
    "names that end in _{0}": by_end,
    "names with the part {0}": by_part,
}
PATTERN: dict[str, Callable[[str, str], str | None]] = {"the pattern {0}": by_pattern}


def is_pattern(channel: str) -> bool:
    return "*" in channel


def find_cases(files: Sequence[Path], channels: Sequence[str], folder: Path, key: str = "DATASET.CHANNELS") -> Cases:
    """Put the files of each case together.

    Args:
        files: of all channels.
        channels: their names.
        folder: of the images.
        key: where the names come from, in KINDS.

    Returns:
        The images, in the order of the files of the first channel.
    """
    ways = PATTERN if any(map(is_pattern, channels)) else WAYS
    found: dict[str, dict[Path, tuple[str, str]]] = {}
    for way, case_in in ways.items():
        found[way] = assign(files, channels, folder, case_in)
        if {channel for channel, _ in found[way].values()} == set(channels):
            return put_together(files, channels, folder, found[way], key)
    best = max(found.values(), key=lambda assigned: len({channel for channel, _ in assigned.values()}))
    absent = [channel for channel in channels if channel not in {of for of, _ in best.values()}]
    looked = ", ".join(way.format(absent[0]) for way in ways)
    problem = f"{folder}: has no file of the {KINDS[key]} {absent[0]} of {key}; looked for {looked}."
    return Cases([], [file for file in files if file not in best], [problem])


def assign(
    files: Iterable[Path], channels: Sequence[str], folder: Path, case_in: Callable[[str, str], str | None]
) -> dict[Path, tuple[str, str]]:
    """`{file: (channel, case)}` of the files that belong to a channel."""
    longest_first = sorted(channels, key=len, reverse=True)  # case_t1_gd is of t1_gd, not of gd
    assigned = {}
    for file in files:
        place = Path(os.path.relpath(file, folder))
        text = (place if case_in is by_pattern else place.with_suffix("")).as_posix().removesuffix(".nii")
        for channel in longest_first:
            case = case_in(channel, text)
            if case is not None:
                assigned[file] = channel, case
                break
    return assigned


def put_together(
    files: Sequence[Path], channels: Sequence[str], folder: Path, assigned: dict[Path, tuple[str, str]], key: str
) -> Cases:
    """The images of files that are assigned to channels and cases."""
    cases: dict[str, dict[str, Path]] = {}
    problems = []
    for file, (channel, case) in assigned.items():
        other = cases.setdefault(case, {}).setdefault(channel, file)
        if other != file:
            problems.append(f"{file}: is the {KINDS[key]} {channel} of {case}, as {other} is. Remove one of them.")
    images = []
    for case, of_channel in cases.items():
        missing = [channel for channel in channels if channel not in of_channel]
        if missing:
            there = next(iter(of_channel.values()))
            problems.append(
                f"{there}: has no partner in {', '.join(missing)} of {key}; the names of a case differ in "
                f"the {KINDS[key]} alone. Add the file, or leave the case out."
            )
        else:
            parts = tuple(of_channel[channel] for channel in channels)
            images.append(ImageParts(parts, case, folder, parts[0]))
    order = {file: number for number, file in enumerate(files)}
    images.sort(key=lambda image: order[Path(str(image.shown))])
    return Cases(images, [file for file in files if file not in assigned], problems)


def common_folder(files: Sequence[Path]) -> Path:
    """The folder that contains all files of a list."""
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))
