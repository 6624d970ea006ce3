"""Groups of images that must stay in one split: slices of a volume, images of a patient, frames of a scene."""

import re
from collections.abc import Sequence

from data_generators.files.image_file import volume_and_slice
from utils.base.errors import UserError
from utils.base.wording import counted

VOLUME, NONE = "volume", "none"


def group_of(name: str, pattern: str | None) -> str:
    """The group of a file name without ending.

    Args:
        name: the file name.
        pattern: `volume`: the part before the last number, as `volume_and_slice` reads it; `none` or None: each name
            is its own group; otherwise a regular expression, whose first group counts (the whole match if it has none).

    Raises:
        UserError: the expression is invalid, or does not match the name.

    >>> group_of("image_28_5", "volume"), group_of("anna-left", "^[^-]+")
    ('28', 'anna')
    """
    if pattern in (None, NONE):
        return name
    if pattern == VOLUME:
        found = volume_and_slice(f"{name}.png")
        return found[0] if found else name
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise UserError(f"--group {pattern}: is not a regular expression: {error}.") from None
    if not match or match.group(min(1, match.re.groups)) is None:
        raise UserError(f"--group {pattern}: does not match {name}.")
    return match.group(min(1, match.re.groups))


def describe_groups(groups: Sequence[str], pattern: str | None) -> str:
    """One line about the groups of all images: how many, where they come from, and how to turn them off.

    Args:
        groups: the group of each image.
        pattern: as of `group_of`.
    """
    names = sorted(set(groups))
    images = counted(len(groups), "image")
    grouped = f"{images} in {counted(len(names), 'group')}"
    if pattern in (None, NONE):
        return f"{images}, not grouped"
    if pattern != VOLUME:
        return f"{grouped} by --group"
    if len(names) == len(groups):
        return f"{images}, not grouped: their names show no groups; --group can define some"
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{grouped} ({shown}), by the part of the name before the last number; to turn this off: --group none"
