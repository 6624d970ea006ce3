"""Cases that stay together when a choice is tested: images of one patient, volume or scene."""

from collections.abc import Sequence
from pathlib import Path

from data_preparation.common.groups import NONE, VOLUME, group_of
from utils.base.errors import UserError


def group_cases(cases: Sequence[str], unit: str, pattern: str | None) -> tuple[str, list[str]]:
    """How cases are grouped, in words, and the group of each.

    Args:
        cases: names of volumes or images.
        unit: "volume" or "image".
        pattern: of `data_preparation.common.groups.group_of`; None: a volume by itself, images by the part of the name
            before the last number, as data_preparation/split.py groups them, if that makes several groups.

    Raises:
        UserError: all cases are in one group; a pattern that does not match.

    >>> group_cases(["a_1.png", "a_2.png", "b_1.png"], "image", None)[1]
    ['a', 'a', 'b']
    >>> group_cases(["a_1.png", "a_2.png"], "image", None)
    ('each image by itself', ['a_1.png', 'a_2.png'])
    """
    stems = list(cases) if unit == "volume" else [Path(case).stem for case in cases]
    chosen = pattern or (NONE if unit == "volume" else VOLUME)
    groups = list(cases) if chosen == NONE else [group_of(stem, chosen) for stem in stems]
    if len(set(groups)) < 2:
        if pattern is not None:
            raise UserError(f"--group {pattern}: puts all {len(cases)} cases into one group; a test needs two.")
        groups = list(cases)
    if len(set(groups)) == len(cases):
        return f"each {unit} by itself", groups
    return "the part of the name before the last number" if chosen == VOLUME else f"--group {pattern}", groups
