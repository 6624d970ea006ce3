"""Scores of the ISBI 2012 challenge for cells that are separated by thin borders.

Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for connectomics", Frontiers
in Neuroanatomy 9:142, https://doi.org/10.3389/fnana.2015.00142: the foreground-restricted Rand score and
information-theoretic score after border thinning, as F-scores (alpha 0.5) and their split and merge parts.
"""

import numpy as np
from scipy.ndimage import distance_transform_cdt

from losses.whole_images import ClassMaps, Part, WholeImageMetric
from utils.base.pieces import find_pieces, overlaps

CONNECTIVITY = 4  # as in the challenge: cells that touch at a corner are two
THRESHOLDS = tuple(step / 10 for step in range(10))
SCORES = ("v_rand", "v_rand_split", "v_rand_merge", "v_info", "v_info_split", "v_info_merge")
MAXIMISED = ("v_rand", "v_info")


def rand_information(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float] | None:
    """Compare a segmentation with the true one, on the pixels of true objects.

    With p_ij the share of these pixels in segment i of the prediction and j of the truth, s_i and t_j its sums, Rand's
    split score is sum p_ij^2 / sum t_j^2, lower the more true objects are split, the merge score
    sum p_ij^2 / sum s_i^2, and v_rand is sum p_ij^2 over the mean of both denominators. The information scores have the
    mutual information I(S;T) over the entropies H(S) for splits, H(T) for merges and their mean. A pixel
    predicted as border is a segment of its own.

    Args:
        truth, predicted: int `(height, width)`, number of the object, 0 where there is none.

    Returns:
        `{name: score in [0, 1]}`, names of SCORES; None without true objects.

    Example, one true object of 4 pixels, split in halves:
        >>> scores = rand_information(np.array([[1, 1, 1, 1]]), np.array([[1, 1, 2, 2]]))
        >>> scores["v_rand_split"], scores["v_rand_merge"]
        (0.5, 1.0)
    """
    inside = truth > 0
    pixels = int(inside.sum())
    if not pixels:
        return None
    _, found, common = overlaps(truth[inside], predicted[inside])
    borders = int(common[found == 0].sum())
    joint = common[found > 0] / pixels
    segments = np.bincount(found[found > 0], common[found > 0]) / pixels
    objects = np.bincount(truth[inside]) / pixels
    alone = borders / pixels**2
    pairs, of_segments, of_objects = ((shares**2).sum() for shares in (joint, segments, objects))
    pairs, of_segments = pairs + alone, of_segments + alone
    unknown = borders / pixels * np.log(pixels)
    h_segments, h_objects = entropy(segments) + unknown, entropy(objects)
    mutual = h_segments + h_objects - entropy(joint) - unknown
    return {
        "v_rand": float(2 * pairs / (of_segments + of_objects)),
        "v_rand_split": float(pairs / of_objects),
        "v_rand_merge": float(pairs / of_segments),
        "v_info": share(2 * mutual, h_segments + h_objects),
        "v_info_split": share(mutual, h_segments),
        "v_info_merge": share(mutual, h_objects),
    }


def entropy(shares: np.ndarray) -> float:
    """`-sum p log p`, in nats."""
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())


def share(mutual: float, whole: float) -> float:
    """Mutual information by an entropy, in [0, 1]. Without entropy there is one object, and nothing to lose: 1."""
    return float(np.clip(mutual / whole, 0, 1)) if whole > 1e-12 else 1.0


def thin_borders(inside: np.ndarray) -> np.ndarray:
    """The objects of a prediction, grown until the borders between them are one pixel wide.

    Each pixel goes to the nearest object along rows and columns, as a watershed floods it; where several are equally
    near, the border may lie a pixel beside that of another watershed. Without any object the whole image is one.

    Args:
        inside: bool `(height, width)`, where the inside of objects is predicted.

    Returns:
        int32 `(height, width)`: number of the object, 0 on the borders.

    >>> thin_borders(np.array([[1, 0, 0, 0, 1]], bool)).tolist()
    [[1, 1, 0, 2, 2]]
    """
    objects = find_pieces(inside, CONNECTIVITY)
    if objects.max(initial=0) < 2:  # nothing to separate
        return np.ones_like(objects)
    _, nearest = distance_transform_cdt(~inside, metric="taxicab", return_indices=True)
    owners = objects[tuple(nearest)]
    thin = owners.copy()
    for axis in (0, 1):
        first, second = np.moveaxis(owners, axis, 0)[:-1], np.moveaxis(owners, axis, 0)[1:]
        outside = np.moveaxis(~inside, axis, 0)
        lines, differ = np.moveaxis(thin, axis, 0), first != second
        # Of two neighbours with different owners at least one was not inside: that one becomes the border.
        lines[:-1][differ & outside[:-1]] = 0
        lines[1:][differ & ~outside[:-1]] = 0
    return thin


class RandInformation(WholeImageMetric):
    """The scores of SCORES, means over the images that have true objects.

    The probability of the class is cut at each of THRESHOLDS. v_rand and its parts are of the threshold with the best
    mean v_rand, v_info and its parts of that with the best mean v_info: one each for the whole set, as in the
    challenge.
    """

    needs_probabilities = True

    def __init__(self) -> None:
        self.images: list[np.ndarray | None] = []  # (thresholds, scores) each

    def add(self, maps: ClassMaps) -> None:
        truth = find_pieces(maps.truth, CONNECTIVITY)
        if not truth.any():
            self.images.append(None)
            return
        found = [
            rand_information(truth, thin_borders((maps.probability > threshold) & maps.valid))
            for threshold in THRESHOLDS
        ]
        self.images.append(np.array([[row[name] for name in SCORES] for row in found if row]))

    def results(self) -> dict[str, list[Part] | float]:
        tables = [table for table in self.images if table is not None]
        if not tables:
            return {}
        means = np.mean(tables, axis=0)
        results: dict[str, list[Part] | float] = {}
        for maximised in MAXIMISED:
            best = int(means[:, SCORES.index(maximised)].argmax())
            for column, name in enumerate(SCORES):
                if name.startswith(maximised):
                    results[name] = [
                        (0.0, 0.0) if table is None else (float(table[best, column]), 1.0) for table in self.images
                    ]
            results[f"{maximised}_threshold"] = THRESHOLDS[best]
        return results
