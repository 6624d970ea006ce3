"""Splits: keep the published one, or draw one by groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_preparation.common.image_files import unique_by
from utils.base.errors import UserError
from utils.base.listing import expand_pattern, kind_at
from utils.base.wording import counted

if TYPE_CHECKING:
    from argparse import Namespace

    from data_preparation.common.dataset_writer import NewPair

SPLITS = ("train", "val", "test")


def paths_by_split(*patterns: str | Path) -> dict[str | None, list[Path]]:
    """The paths of each published split: `{split: paths}`, for patterns that contain `{split}`; `*` is left as it is.

    Without `{split}` in the patterns the result is `{None: paths}`: the split has to be drawn.

    Raises:
        UserError: nothing exists, or only some of the paths of a split.
    """
    if not any("{split}" in str(pattern) for pattern in patterns):
        return {None: [existing_path(Path(pattern)) for pattern in patterns]}
    found: dict[str | None, list[Path]] = {}
    for split in SPLITS:
        paths = [Path(str(pattern).replace("{split}", split)) for pattern in patterns]
        if any(map(is_there, paths)):
            found[split] = [existing_path(path) for path in paths]
    if not found:
        raise UserError(f"{patterns[0]}: nothing exists for any of the splits {', '.join(SPLITS)}.")
    return found


def existing_path(path: Path) -> Path:
    """The path.

    Raises:
        UserError: it does not exist, nothing matches its `*`, or its folder may not be entered.
    """
    if not is_there(path):
        raise UserError(f"{path}: {'nothing matches' if '*' in str(path) else 'there is no such file or folder'}.")
    return path


def is_there(path: Path) -> bool:
    """Whether a path exists, or something that its `*` match."""
    return bool(expand_pattern(path)) if "*" in str(path) else kind_at(path) not in (None, "nothing")


def assign_splits(groups: Iterable[str], val: float, test: float, seed: int) -> dict[str, str]:
    """Draw a split by groups: `{group: split}`.

    Args:
        groups: of the images; duplicates do not matter.
        val, test: share of the groups; at least one group unless 0.
        seed: the same seed gives the same split.

    Raises:
        UserError: too few groups.

    >>> assign_splits(["anna", "bert", "carl"], val=0.2, test=0, seed=5)
    {'bert': 'val', 'carl': 'train', 'anna': 'train'}
    """
    groups = sorted(set(groups))
    shares = {"val": val, "test": test}
    counts = {split: max(round(len(groups) * share), 1) if share else 0 for split, share in shares.items()}
    if groups and sum(counts.values()) >= len(groups):
        raise UserError(
            f"{counted(len(groups), 'group')} would leave none for training with --val {val:g} and --test {test:g}: "
            "choose 0 for one of them, or bring more."
        )
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    splits = ["val"] * counts["val"] + ["test"] * counts["test"]
    splits += ["train"] * (len(groups) - len(splits))
    return {groups[index]: split for index, split in zip(order, splits, strict=True)}


def with_splits(pairs: Sequence[NewPair], groups: Sequence[str], options: Namespace) -> list[NewPair]:
    """The pairs, with a split drawn by groups if they have none.

    Args:
        pairs: all with a split, or all without.
        groups: the group of each pair.
        options: --val, --test and --seed.

    Raises:
        UserError: too few groups, or two pairs of one name.
    """
    if all(pair.split for pair in pairs):
        return list(pairs)
    unique_by(pairs, lambda pair: pair.name)
    splits = assign_splits(groups, options.val, options.test, options.seed)
    return [pair._replace(split=splits[group]) for pair, group in zip(pairs, groups, strict=True)]
