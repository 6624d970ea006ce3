"""The Lovász extension of the Jaccard loss: convex in the errors, and 1 - IoU at hard masks."""

from keras import KerasTensor, ops

from losses.targets import mean_of_images


def lovasz(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    average: str,
    multi_label: bool = False,
    counted: KerasTensor | None = None,
) -> KerasTensor:
    """Lovász-Softmax; with sigmoids the same on the probability of each.

    Berman et al. 2018, https://arxiv.org/abs/1705.08790. Mean over the classes that the truth holds (those of
    sigmoids always count), then over images.

    Args:
        y_true, y_pred: float32 `(batch, height, width, classes)`, one map per class and probabilities.
        valid: see `losses.targets.prepare`; ignored pixels have no error.
        average: "image": mean of the loss of each image; "batch": the pixels of the whole batch as one image.
        multi_label: whether the channels are sigmoids of classes that may overlap; a single channel is one anyway.
        counted: see `losses.targets.mean_of_images`.

    Returns:
        Scalar in [0, 1].
    """
    errors = ops.abs(y_true - y_pred)
    errors = pixels_of_images(errors if valid is None else errors * valid, average)
    truth = pixels_of_images(y_true, average)

    # Largest error first; the Jaccard loss as one pixel after the other turns wrong, each step weighted with the drop
    # to the next error. (Errors times differences of the Jaccard loss are the same sum, but cancel in float32.)
    order = ops.stop_gradient(ops.argsort(-errors, axis=-1))
    errors, truth = ops.take_along_axis(errors, order, axis=-1), ops.take_along_axis(truth, order, axis=-1)
    area = ops.sum(truth, axis=-1, keepdims=True)
    jaccard = 1 - (area - ops.cumsum(truth, axis=-1)) / (area + ops.cumsum(1 - truth, axis=-1))
    drop = errors - ops.pad(errors[..., 1:], ((0, 0), (0, 0), (0, 1)))
    loss = ops.sum(drop * ops.stop_gradient(jaccard), axis=-1)

    counts = ops.ones_like(loss) if y_pred.shape[-1] == 1 or multi_label else ops.cast(area[..., 0] > 0, "float32")
    of_images = ops.divide_no_nan(ops.sum(loss * counts, axis=0), ops.sum(counts, axis=0))
    return mean_of_images(of_images, counted if average == "image" else None)


def pixels_of_images(maps: KerasTensor, average: str) -> KerasTensor:
    """`(batch, height, width, classes)` -> `(classes, images, pixels)`, one image for all if averaged by batch."""
    images = 1 if average == "batch" else ops.shape(maps)[0]
    return ops.reshape(ops.transpose(maps, (3, 0, 1, 2)), (maps.shape[-1], images, -1))
