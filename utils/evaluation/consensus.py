"""One mask from those of several raters: the majority, or STAPLE."""

from collections.abc import Callable

import numpy as np

from utils.base.class_bits import pack, unpack

ROUNDS, CONVERGED = 100, 1e-7  # of STAPLE: at most so many, or until no rater's rates change by more


def majority(votes: np.ndarray, classes: int) -> np.ndarray:
    """The class that most raters chose; of equally many the lowest, which is the background where it is one of them.

    Args:
        votes: uint8 `(raters, ...)` class indices.
        classes: with class 0.

    >>> majority(np.uint8([[0, 1, 2], [0, 1, 1], [1, 2, 0]]), 3).tolist()
    [0, 1, 0]
    """
    counts = np.stack([(votes == index).sum(0) for index in range(classes)])
    return counts.argmax(0).astype(np.uint8)


def staple(votes: np.ndarray, classes: int) -> np.ndarray:
    """The most probable class by STAPLE (Warfield et al. 2004, https://doi.org/10.1109/TMI.2004.828354).

    Expectation maximisation estimates how often each rater calls a pixel of class t class v, and from that the truth;
    the prior of a class is its share in all masks. Pixels with equal votes are one, so that time does not grow with
    the image. Arguments as in `majority`.

    >>> staple(np.uint8([[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]]), 2).tolist()
    [0, 0, 1, 1]
    """
    raters = len(votes)
    codes = np.ravel_multi_index(tuple(votes.reshape(raters, -1)), (classes,) * raters)
    codes, where, pixels = np.unique(codes, return_inverse=True, return_counts=True)
    patterns = np.stack(np.unravel_index(codes, (classes,) * raters))
    chosen = np.eye(classes)[patterns]  # (rater, pattern, class)
    prior = (chosen * pixels[:, np.newaxis]).sum((0, 1)) / (raters * pixels.sum())
    # Raters are good at first: without that, the solution with all classes exchanged is as likely.
    rates = np.broadcast_to(0.99 * np.eye(classes) + 0.01 / classes, (raters, classes, classes))
    for _ in range(ROUNDS):
        with np.errstate(divide="ignore"):
            likely = np.log(prior) + np.einsum("rpv,rtv->pt", chosen, np.log(np.maximum(rates, 1e-12)))
        truth = np.exp(likely - likely.max(1, keepdims=True))
        truth /= truth.sum(1, keepdims=True)
        weight = truth * pixels[:, np.newaxis]
        updated = np.einsum("pt,rpv->rtv", weight, chosen) / np.maximum(weight.sum(0), 1e-12)[:, np.newaxis]
        change, rates = float(np.abs(updated - rates).max()), updated
        if change < CONVERGED:
            break
    return truth.argmax(1)[where.ravel()].reshape(votes.shape[1:]).astype(np.uint8)


CONSENSUS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"majority": majority, "staple": staple}


def find_consensus(
    kind: str, votes: np.ndarray, classes: int, ignore_label: int | None = None, multi_label: bool = False
) -> np.ndarray:
    """One mask of several: uint8, of the shape of one; pixels that any rater ignores are ignored.

    Args:
        kind: a row of CONSENSUS.
        votes: uint8 `(raters, ...)`, class indices or the bits of overlapping classes.
        classes: with class 0.
        ignore_label: DATASET.IGNORE_LABEL.
        multi_label: whether classes overlap; then each is decided by itself.
    """
    decide = CONSENSUS[kind]
    ignored = np.zeros(votes.shape[1:], bool) if ignore_label is None else (votes == ignore_label).any(0)
    votes = np.where(ignored, 0, votes)
    if multi_label:
        maps = unpack(votes, classes - 1)
        agreed = pack(np.stack([decide(maps[..., index], 2) for index in range(classes - 1)], axis=-1))
    else:
        agreed = decide(votes, classes)
    return np.where(ignored, 0 if ignore_label is None else ignore_label, agreed).astype(np.uint8)
