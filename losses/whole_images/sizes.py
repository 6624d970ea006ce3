"""Objects by size: how many true ones lie in each range of sizes, and how many of those are found."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from losses.whole_images import Part

ROUNDING = 1e-6


class SizeBins:
    """Ranges of sizes that `edges` divide; an object as large as an edge is in the range that begins there.

    Args:
        edges: rising, above 0; none for no ranges.
        voxel_ml: volume of a voxel, so that edges are in ml; None: they are in pixels or voxels.

    >>> SizeBins([100, 1000]).names
    ['0_100', '100_1000', '1000_inf']
    >>> SizeBins([0.5], voxel_ml=0.001).names
    ['0_0.5_ml', '0.5_inf_ml']
    """

    def __init__(self, edges: Sequence[float], voxel_ml: float | None = None) -> None:
        self.edges, self.size = list(edges), 1 if voxel_ml is None else voxel_ml
        ends, unit = ["0", *(f"{edge:.12g}" for edge in edges), "inf"], "" if voxel_ml is None else "_ml"
        self.names = [f"{low}_{high}{unit}" for low, high in pairwise(ends)] if self.edges else []

    def parts(self, sizes: np.ndarray, found: np.ndarray) -> dict[str, Part]:
        """`{name: (objects found, objects)}` of the true objects of a case.

        Args:
            sizes: int `(objects,)`, pixels or voxels of each.
            found: bool `(objects,)`.

        >>> SizeBins([2]).parts(np.array([1, 2, 3]), np.array([False, True, False]))
        {'0_2': (0.0, 1.0), '2_inf': (1.0, 2.0)}
        """
        # 3 voxels of 0.3 ml are 0.9 ml, whatever the rounding of the product, and of a spacing of 32 bit.
        bins = np.digitize(sizes * self.size * (1 + ROUNDING), self.edges)
        return {
            name: (float(found[bins == number].sum()), float((bins == number).sum()))
            for number, name in enumerate(self.names)
        }


class FoundBySize:
    """Parts of each case: <kind>_sensitivity_size_<range>: found and true objects, so that a set has that of all its
    objects; and of the set <kind>_count_size_<range>: how many true objects there are.

    Args:
        kind: of objects, the beginning of the names.
        edges: of `SizeBins`.
    """

    def __init__(self, kind: str, edges: Sequence[float]) -> None:
        self.kind, self.edges = kind, edges
        self.counts: dict[str, int] = {}

    def parts(self, sizes: np.ndarray, found: np.ndarray, voxel_ml: float | None = None) -> dict[str, Part]:
        """The parts of the next case; its objects are counted. Arguments as in `SizeBins`."""
        parts = SizeBins(self.edges, voxel_ml).parts(sizes, found)
        for name, (_, count) in parts.items():
            self.counts[name] = self.counts.get(name, 0) + int(count)
        return {f"{self.kind}_sensitivity_size_{name}": part for name, part in parts.items()}

    def results(self) -> dict[str, int]:
        """The counts of all cases."""
        return {f"{self.kind}_count_size_{name}": count for name, count in self.counts.items()}
