"""Divide images so that groups stay together and all parts have similar shares of foreground.

scikit-learn is imported only where it draws: it takes a second, which --help and errors need not wait for.
"""

import contextlib
import functools
import warnings
from collections.abc import Hashable, Sequence

import numpy as np

from data_generators.files.image_file import ImageFile
from data_generators.reading.class_masks import read_planes
from data_generators.reading.mask_values import read_values
from data_preparation.common.parallel import run_parallel
from utils.base.progress import track

STRATA = 4  # classes by size of the foreground, beside the class without foreground
PART_COUNTS = (2, 3, 4, 5, 10, 20, 50, 100)  # fractions are made of equal parts: the first of these that fits them
CHUNK = 32  # masks that a process reads at a time


def foreground_shares(
    masks: Sequence[ImageFile],
    background: int,
    workers: int | None,
    quiet: bool,
    classes: Sequence[str] | None = None,
) -> np.ndarray:
    """The share of foreground pixels in each mask: float `(masks,)`.

    Args:
        masks: the files.
        background: pixel value that is not foreground.
        workers: processes; None is one per core.
        quiet: no progress bar.
        classes: names of the classes of masks with a plane for each: foreground is any of them.
    """
    work = functools.partial(foreground_share, background=background, classes=classes)
    results = run_parallel(work, masks, workers, CHUNK)
    with contextlib.closing(track(results, "measure masks", len(masks), quiet=quiet, leave=False)) as progress:
        shares = dict(progress)
    return np.array([shares[mask] for mask in masks])


def foreground_share(path: ImageFile, background: int, classes: Sequence[str] | None = None) -> float:
    """The share of foreground pixels in a mask."""
    planes = [read_values(path)] if classes is None else read_planes(path, classes)
    return float(np.mean(np.logical_or.reduce([plane != background for plane in planes])))


def assign_fractions(
    groups: Sequence[Hashable], shares: np.ndarray, fractions: Sequence[float], seed: int
) -> np.ndarray:
    """Divide images by fractions.

    Args:
        groups: the group of each image; a group is never divided.
        shares: share of foreground of each image.
        fractions: they sum to 1.
        seed: the same seed gives the same result.

    Returns:
        int `(images,)`: the index into `fractions` of each image.
    """
    parts = count_parts(fractions, len(set(groups)))
    ends = np.cumsum(distribute_parts(fractions, parts))
    return np.searchsorted(ends, assign_parts(groups, shares, parts, seed), side="right")


def assign_parts(groups: Sequence[Hashable], shares: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """Divide images into equal parts: int `(images,)`, 0 to `parts - 1`. Arguments as of `assign_fractions`."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    strata = stratify(shares, parts)
    has_groups = len(set(groups)) < len(groups)
    splitter = StratifiedGroupKFold if has_groups else StratifiedKFold  # same result without groups, much faster
    if np.bincount(strata).max() < parts:  # scikit-learn wants one stratum that fills all parts
        strata = np.zeros_like(strata)
    part_of = np.zeros(len(groups), int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a stratum has fewer images than parts
        folds = splitter(parts, shuffle=True, random_state=seed).split(np.zeros(len(groups)), strata, groups)
        for part, (_, chosen) in enumerate(folds):
            part_of[chosen] = part
    return part_of


def stratify(shares: np.ndarray, parts: int) -> np.ndarray:
    """The stratum of each image: 0 without foreground, else 1 to 4 by its share; fewer if images do not suffice."""
    present = shares > 0
    count = int(np.clip(present.sum() // parts, 1, STRATA))
    limits = np.quantile(shares[present], np.arange(1, count) / count) if present.any() else []
    return np.where(present, 1 + np.searchsorted(limits, shares, side="right"), 0)


def count_parts(fractions: Sequence[float], groups: int) -> int:
    """How many equal parts the fractions are made of; at most one per group.

    >>> count_parts([0.7, 0.15, 0.15], groups=100)
    20
    """
    fitting = (
        parts for parts in PART_COUNTS if all(abs(share * parts - round(share * parts)) < 1e-6 for share in fractions)
    )
    return min(next(fitting, PART_COUNTS[-1]), groups)


def distribute_parts(fractions: Sequence[float], parts: int) -> np.ndarray:
    """How many of the parts each fraction gets: at least one unless it is 0.

    >>> distribute_parts([0.7, 0.15, 0.15], 20).tolist()
    [14, 3, 3]
    """
    exact = np.array(fractions) * parts
    counts = np.where(exact > 0, np.maximum(np.floor(exact + 1e-9), 1), 0).astype(int)
    while counts.sum() != parts:
        step = 1 if counts.sum() < parts else -1
        allowed = (exact > 0) & ((step > 0) | (counts > 1))
        counts[np.argmax(np.where(allowed, step * (exact - counts), -np.inf))] += step
    return counts
