"""Which pairs are for training and which for validation: by their folders, or drawn by groups."""

import re
from argparse import Namespace
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_generators.files.pairing import Pair
from data_preparation.common.groups import VOLUME, describe_groups, group_of
from data_preparation.common.stratified_splits import assign_fractions
from data_preparation.planning.pair_properties import PairProperties, count_values, measure_pairs
from data_preparation.planning.stored_form import StoredForm, pairs_of
from utils.base.errors import UserError
from utils.base.wording import counted

SPLITS = ("train", "val")


class Split(NamedTuple):
    """The pairs of each split, their properties, and why they are split like this."""

    pairs: dict[str, list[Pair]]
    measured: dict[str, list[PairProperties]]
    reason: str


def find_split(options: Namespace, form: StoredForm) -> Split:
    """Find the pairs and measure them; the split is that of the folders, or drawn by groups."""
    folders = (options.images, options.masks)
    if any("{split}" in folder for folder in folders):
        if not all("{split}" in folder for folder in folders):
            raise UserError("{split} must be in IMAGES and in MASKS, or in neither.")
        pairs = {name: pairs_of(form, *(folder.replace("{split}", name) for folder in folders)) for name in SPLITS}
        measured = {name: measure_pairs(found, form, options.quiet) for name, found in pairs.items()}
        return Split(pairs, measured, "by their folders")
    return draw_split(pairs_of(form, *folders), options, form)


def draw_split(pairs: list[Pair], options: Namespace, form: StoredForm) -> Split:
    """Draw a split by groups, with similar shares of foreground on both sides."""
    pattern = options.group or (VOLUME if options.slices_around else None)
    groups, reason = find_groups([pair.image.stem for pair in pairs], pattern)
    if len(set(groups)) < 2:
        raise UserError(
            f"{counted(len(groups), 'image')} in one group, which cannot be split: define other groups with --group."
        )
    measured = measure_pairs(pairs, form, options.quiet)
    shares = foreground_shares(measured, [0] if form.classes else options.values)
    split_of = assign_fractions(groups, shares, (1 - options.val, options.val), options.seed)
    split = Split({name: [] for name in SPLITS}, {name: [] for name in SPLITS}, reason)
    for pair, properties, index in zip(pairs, measured, split_of.tolist(), strict=True):
        split.pairs[SPLITS[index]].append(pair)
        split.measured[SPLITS[index]].append(properties)
    return split


def foreground_shares(measured: Sequence[PairProperties], values: Sequence[int] | None) -> np.ndarray:
    """The share of foreground in each mask: pixels without the first of `values`, by default the smallest value."""
    background = values[0] if values else np.flatnonzero(count_values(measured).pixels)[0]
    return np.array([1 - pair.values[background : background + 1].sum() / pair.values.sum() for pair in measured])


def find_groups(stems: Sequence[str], pattern: str | None) -> tuple[list[str], str]:
    """Return `(the group of each name, one line about them)`."""
    if pattern is not None:
        groups = [group_of(stem, pattern) for stem in stems]
        return groups, describe_groups(groups, pattern)
    # More names than the other commands group (seq_f0930), because a plan is shown before it is used.
    matches = [re.fullmatch(r"(.+)[_-][A-Za-z]*\d+", stem) for stem in stems]
    groups = [match.group(1) for match in matches if match]
    # Numbers that stand alone, or one name for all, are not groups.
    if len(groups) < len(stems) or len(set(groups)) < 2 or len(set(groups)) > len(stems) / 2:
        groups = list(stems)
    return groups, describe_groups(groups, VOLUME)
