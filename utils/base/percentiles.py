"""Percentiles of values that are counted."""

import numpy as np


def percentile(counts: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """The percentile of each row of `(channels, values)`, which counts how often each value occurs.

    Args:
        counts: integers, of each row at least one above 0.
        share: in 0 to 100, or several `(shares,)`: then `(channels, shares)` is returned.

    >>> percentile(np.array([[1, 0, 1], [0, 4, 0]]), 25).tolist()
    [0.5, 1.0]
    """
    return np.array([percentile_of_row(np.cumsum(row), share) for row in counts])


def percentile_of_row(sums: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """`percentile` of one row, of which `sums` are the cumulative counts `(values,)`."""
    rank = share / 100 * (sums[-1] - 1)
    below, above = (np.searchsorted(sums, place, side="right") for place in (np.floor(rank), np.ceil(rank)))
    return below + (above - below) * (rank - np.floor(rank))
