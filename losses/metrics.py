"""Metrics of a mask output, of the hard prediction, collected batch by batch.

A pixel is predicted as the class of the largest probability (the first of equals), with a single class as foreground
where p > 0.5; it is truly of a class where `y_true` of that class is above 0.5. The forms of `y_true` are those of
`losses.targets.to_one_hot`. Counts are float32 because TensorFlow keeps int32 variables and sums on the host when
the rest is on a GPU; they are exact, as integers below 2**24 are, for images of up to 4096x4096 pixels.
"""

import keras
from keras import ops

from losses.targets import foreground, prepare


def dice_coefficient(cfg):
    """The metric that training watches, `dice_coef`."""
    return DiceCoefficient()


def overlap_scores(cfg):
    """Dice and IoU of each class over the whole set."""
    return OverlapScores(cfg.OUTPUT.CLASSES)


class DiceCoefficient(keras.metrics.Mean):
    """Mean over images of the Dice coefficient of the foreground, in [0, 1].

    An image where truth and prediction are both empty counts 1, so that many empty images flatter the mean:
    `OverlapScores` does not have this. For one and two classes the value is that of the TensorFlow port of UNet 3+,
    smoothing of 1e-9 included. With more classes it is the mean over the foreground classes, each absent from truth
    and prediction counting 1; the port multiplies label numbers there, which is no Dice coefficient.
    """

    def __init__(self, name="dice_coef", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch; `sample_weight` is one weight per image."""
        common, true, predicted = (foreground(pixels) for pixels in count_pixels(y_true, y_pred))
        dice = (2 * common + 1e-9) / (true + predicted + 1e-9)
        super().update_state(ops.mean(dice, axis=-1), sample_weight)


class OverlapScores(keras.metrics.Metric):
    """Dice and IoU of each class from the pixels of the whole set, as if it was one image.

    `result()` is a dict of scalars in [0, 1]: `dice`, `iou` are the means over the foreground classes that occur in
    truth or prediction, `dice_class1`, `iou_class1` ... are those of one class; `..._class0`, the background, is there
    with several classes. A class that never occurs is NaN; so are the means if none occurs.

    Exact up to 2**38 pixels of a class and 1000 images a batch.

    Args:
        classes: int, channels of the prediction.
    """

    # float32 alone stops counting at 2**24: a count is kept as `high * UNIT + low`.
    UNIT = 2**14

    def __init__(self, classes, name="overlap", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.classes = classes
        # Axis 0: common, true and predicted pixels. Replicas add up their own.
        self.low = self.add_variable((3, classes), "zeros", dtype="float32", name="low")
        self.high = self.add_variable((3, classes), "zeros", dtype="float32", name="high")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch. Pixels are counted, never weighted: `sample_weight` must be None."""
        if sample_weight is not None:
            raise ValueError("OverlapScores counts whole pixels: list it in metrics, not in weighted_metrics.")
        pixels = ops.stack(count_pixels(y_true, y_pred))
        high = ops.floor(pixels / self.UNIT)
        low = self.low + ops.sum(pixels - high * self.UNIT, axis=1)
        carry = ops.floor(low / self.UNIT)
        self.low.assign(low - carry * self.UNIT)
        self.high.assign(self.high + ops.sum(high, axis=1) + carry)

    def result(self):
        common, true, predicted = ops.unstack(self.high * self.UNIT + self.low, 3)
        total = true + predicted
        scores = {}
        for name, score in (("dice", 2 * common / total), ("iou", common / (total - common))):
            occurs = foreground(total) > 0
            present = ops.where(occurs, foreground(score), 0.0)
            scores[name] = ops.sum(present) / ops.sum(ops.cast(occurs, "float32"))
            first = 1 if self.classes == 1 else 0
            for index in range(self.classes):
                scores[f"{name}_class{index + first}"] = score[index]
        return scores

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


def count_pixels(y_true, y_pred):
    """Return the common, true and predicted pixels of each class, each float32 `(batch, classes)`."""
    y_true, y_pred = prepare(y_true, y_pred)
    classes = y_pred.shape[-1]
    true = ops.cast(y_true > 0.5, "float32")
    if classes == 1:
        predicted = ops.cast(y_pred > 0.5, "float32")
    else:
        predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), classes, dtype="float32")
    return tuple(ops.sum(maps, axis=(1, 2)) for maps in (true * predicted, true, predicted))
