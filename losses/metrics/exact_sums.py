"""What all metrics are made of: sums over a set that neither batches nor replicas change.

Counts are float32 because TensorFlow keeps int32 variables and sums on the host when the rest is on a GPU; they are
exact, as integers below 2**24 are, for images of up to 4096x4096 pixels.
"""

from typing import Any

import keras
from keras import KerasTensor, ops


class ExactSums(keras.metrics.Metric):
    """Sums of non-negative numbers over a set, integers below 2**38 exactly. Replicas add up their own.

    Args:
        shape: of the sums.
        classes: int, channels of the prediction.
        ignore_label: int or None.
        multi_label: whether the classes may overlap, each decided by itself; none is the background.
        background: whether class 0 of several is the background, which means over foreground classes leave out.
    """

    # float32 alone stops counting at 2**24: a sum is kept as `high * UNIT + low`, low below UNIT.
    UNIT = 2**14
    # Scores in [0, 1] are rounded to multiples of 1 / STEPS and summed as integers, of 65,000 images exactly.
    STEPS = 2**22

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None,
        ignore_label: int | None,
        name: str,
        dtype: str | None = None,
        multi_label: bool = False,
        background: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.classes = classes
        self.ignore_label = ignore_label
        self.multi_label = multi_label
        self.background = background and not multi_label
        self.low = self.add_variable(shape, "zeros", dtype="float32", name="low")
        self.high = self.add_variable(shape, "zeros", dtype="float32", name="high")

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None) -> None:
        """Add a batch. Pixels are counted, never weighted: `sample_weight` must be None."""
        if sample_weight is not None:
            raise ValueError(f"{type(self).__name__} counts whole pixels: list it in metrics, not in weighted_metrics.")
        self.add(self.measure_images(y_true, y_pred))

    def update_counted(self, y_true: KerasTensor, y_pred: KerasTensor, counted: KerasTensor) -> None:
        """Add a batch without the images where `counted` `(batch,)` is 0; it is 1 elsewhere."""
        numbers = self.measure_images(y_true, y_pred)
        self.add(numbers * ops.reshape(counted, (-1, *[1] * (len(numbers.shape) - 1))))

    def measure_images(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """The numbers of each image: float32 `(batch, *shape)`, up to 1000 images of up to 2**24."""
        raise NotImplementedError

    def add(self, numbers: KerasTensor) -> None:
        """Add numbers `(batch, *shape)` of images."""
        high = ops.floor(numbers / self.UNIT)
        low = self.low + ops.sum(numbers - high * self.UNIT, axis=0)
        carry = ops.floor(low / self.UNIT)
        self.low.assign(low - carry * self.UNIT)
        self.high.assign(self.high + ops.sum(high, axis=0) + carry)

    def sums(self) -> KerasTensor:
        """The sums as float32, rounded to 24 bits."""
        return self.high * self.UNIT + self.low

    def get_config(self) -> dict[str, Any]:
        own: dict[str, Any] = {"classes": self.classes, "ignore_label": self.ignore_label}
        if self.multi_label:
            own["multi_label"] = True
        elif not self.background:
            own["background"] = False
        return {**super().get_config(), **own}


def update_metric(
    metric: keras.metrics.Metric, y_true: KerasTensor, y_pred: KerasTensor, counted: KerasTensor | None = None
) -> None:
    """Add a batch to a metric.

    Args:
        counted: float32 `(batch,)`, 1 of an image and 0 of one that only fills the batch; None: all count.
    """
    if counted is None:
        metric.update_state(y_true, y_pred)
    elif isinstance(metric, ExactSums):
        metric.update_counted(y_true, y_pred, counted)
    else:
        metric.update_state(y_true, y_pred, sample_weight=counted)
