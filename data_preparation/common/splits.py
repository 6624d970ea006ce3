"""Which split an item belongs to."""

from pathlib import Path

import numpy as np

from data_preparation.common.listing import by_key
from utils.base.errors import UserError

SPLITS = ("train", "val", "test")


def by_split(*patterns):
    """The splits of sources that were published with one: `{split: paths}`, for the patterns with `{split}` filled in.

    Without `{split}` in the patterns the result is `{None: paths}`: a split is to be made.

    Raises:
        UserError: none of the paths exists, or some of a split do and others do not.
    """
    if not any("{split}" in str(pattern) for pattern in patterns):
        return {None: [existing(Path(pattern)) for pattern in patterns]}
    found = {}
    for split in SPLITS:
        paths = [Path(str(pattern).replace("{split}", split)) for pattern in patterns]
        if any(path.exists() for path in paths):
            found[split] = [existing(path) for path in paths]
    if not found:
        raise UserError(f"{patterns[0]}: there is nothing for any of the splits {', '.join(SPLITS)}.")
    return found


def existing(path):
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder.")
    return path


def assign_splits(groups, val, test, seed):
    """Return `{group: split}` of sorted, shuffled groups: `val` and `test` of them, at least one where not 0.

    Raises:
        UserError: too few groups.
    """
    groups = sorted(set(groups))
    counts = {"val": val, "test": test}
    counts = {split: max(round(len(groups) * share), 1) if share else 0 for split, share in counts.items()}
    if groups and sum(counts.values()) >= len(groups):
        raise UserError(
            f"{len(groups)} cases are too few for --val {val:g} and --test {test:g}: none is left to train."
        )
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    splits = ["val"] * counts["val"] + ["test"] * counts["test"]
    splits += ["train"] * (len(groups) - len(splits))
    return {groups[index]: split for index, split in zip(order, splits, strict=True)}


def with_splits(items, groups, options):
    """The items with a split where they have none: each by its group, as the options say.

    Raises:
        UserError: too few groups, or one name twice, whichever splits the two would come into.
    """
    if all(item.split for item in items):
        return items
    by_key(items, lambda item: item.name)
    splits = assign_splits(groups, options.val, options.test, options.seed)
    return [item._replace(split=splits[group]) for item, group in zip(items, groups, strict=True)]
