"""Scores of the pixels of a whole set, as `losses.metrics.whole_set.ConfusionScores` defines them, in NumPy."""

import numpy as np


class Confusion:
    """Counts of true classes (rows) by predicted ones (columns).

    >>> counts = Confusion(2)
    >>> counts.add(np.array([0, 0, 1, 9]), np.array([0, 1, 1, 1]))
    >>> counts.scores() == {"pixel_accuracy": 2 / 3, "iou_all_classes": 0.5}
    True
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, true: np.ndarray, predicted: np.ndarray) -> None:
        """Add class indices of the same shape; pixels whose true value is no class are ignored."""
        classes = len(self.counts)
        valid = true < classes
        pairs = classes * true[valid].astype(np.int64) + predicted[valid]
        self.counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def scores(self) -> dict[str, float]:
        """Pixel accuracy, and the mean IoU over the classes that occur in truth or prediction."""
        common = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - common
        return {
            "pixel_accuracy": float(common.sum() / self.counts.sum()),
            "iou_all_classes": float((common[union > 0] / union[union > 0]).mean()),
        }
