"""What belongs together and must not be torn apart between training and validation: volumes, patients, scenes."""

import re

from data_generators.files.pairing import volume_and_slice
from utils.base.errors import UserError

VOLUME, NONE = "volume", "none"


def group_of(name, pattern):
    """The group of a file name without ending.

    Args:
        pattern: `volume`: what stands before the last number, as `volume_and_slice` reads it; `none` or None: each name
            is a group of its own; else a regular expression, whose first group counts (all of it, if it has none).

    Raises:
        UserError: the expression is not valid, or does not match the name.
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


def describe_groups(groups, pattern):
    """One line on the groups of all images: how many, by what, and what to do where they were found and not meant."""
    names = sorted(set(groups))
    counted = f"{len(groups)} images in {len(names)} groups"
    if pattern in (None, NONE):
        return f"{len(groups)} images, each for itself"
    if pattern != VOLUME:
        return f"{counted} by --group"
    if len(names) == len(groups):
        return f"{len(groups)} images, each for itself: their names show no groups, --group can"
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{counted} ({shown}), by their names before the last number; if these do not belong together: --group none"
