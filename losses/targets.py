"""The forms in which truth and prediction arrive, brought to one."""

from collections.abc import Sequence

from keras import KerasTensor, ops

from utils.base.errors import UserError
from utils.base.ignored_classes import OF_CLASSES


def prepare(
    y_true: KerasTensor, y_pred: KerasTensor, ignore_label: int | None = None, multi_label: bool = False
) -> tuple[KerasTensor, KerasTensor, KerasTensor | None]:
    """Return truth and prediction as the loss terms and metrics take them.

    Args:
        y_true: mask of any form that `to_one_hot` accepts.
        y_pred: probabilities `(batch, height, width, classes)`, any float dtype.
        ignore_label: DATASET.IGNORE_LABEL.
        multi_label: whether classes may overlap, see `to_one_hot`.

    Returns:
        y_true: float32 `(batch, height, width, classes)`, 0 in every class where the pixel is ignored.
        y_pred: float32 `(batch, height, width, classes)`.
        valid: float32 `(batch, height, width, 1)`, 1 where a pixel counts and 0 where it is ignored; of overlapping
            classes `(batch, height, width, classes)`, as each may be ignored by itself; None without `ignore_label`.
    """
    y_pred = ops.cast(y_pred, "float32")
    height, width, classes = y_pred.shape[1:]
    valid = None
    if ignore_label is not None:
        valid = valid_pixels(y_true, ignore_label)
        if multi_label and with_channels(y_true).shape[-1] == 1:
            valid = valid * valid_classes(y_true, classes)
        valid = center_crop(valid, height, width)
    return center_crop(to_one_hot(y_true, classes, ignore_label, multi_label), height, width), y_pred, valid


def leave_out(y_true: KerasTensor, valid: KerasTensor | None, counted: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """The first and the last of what `prepare` returns, all pixels of the images that do not count ignored.

    Args:
        counted: as in `mean_of_images`.
    """
    weights = ops.reshape(counted, (-1, 1, 1, 1))
    return y_true * weights, weights * (ops.ones_like(y_true[..., :1]) if valid is None else valid)


def center_crop(maps: KerasTensor, height: int | None, width: int | None) -> KerasTensor:
    """The centre of `(batch, height, width, classes)`: a U-Net without padding predicts no more than that."""
    if None in (height, width, *maps.shape[1:3]) or maps.shape[1:3] == (height, width):
        return maps
    top, left = (maps.shape[1] - height) // 2, (maps.shape[2] - width) // 2
    return maps[:, top : top + height, left : left + width]


def to_one_hot(
    y_true: KerasTensor, classes: int, ignore_label: int | None = None, multi_label: bool = False
) -> KerasTensor:
    """Return a mask of any accepted form as one map per class.

    Args:
        y_true: class index per pixel, `(batch, height, width)` or `(batch, height, width, 1)`, any dtype; or one map
            per class, `(batch, height, width, classes)`, one-hot, multi-hot or soft. With one class the map is
            the foreground: 0 or 1.
        classes: channels of the prediction.
        ignore_label: a pixel of that value (in every map, where there are several) belongs to no class.
        multi_label: whether a mask in one channel holds bits in place of class indices: bit n says whether the pixel
            belongs to the class of channel n (`utils.base.class_bits`).

    Returns:
        float32 `(batch, height, width, classes)`. An index outside the classes belongs to none of them.

    Raises:
        UserError: the last axis is neither 1 nor `classes`.
    """
    y_true = with_channels(y_true)
    channels = y_true.shape[-1]
    if channels == classes:
        maps = ops.cast(y_true, "float32")
        return maps if ignore_label is None else maps * valid_pixels(y_true, ignore_label)
    if channels == 1 and multi_label:
        bits = ops.floor_divide(ops.cast(y_true, "int32"), [2**index for index in range(classes)])
        maps = ops.cast(ops.mod(bits, 2), "float32")
        return maps if ignore_label is None else maps * valid_pixels(y_true, ignore_label)
    if channels == 1:
        return ops.one_hot(ops.cast(y_true[..., 0], "int32"), classes, dtype="float32")
    raise UserError(
        f"A mask with {channels} channels does not fit OUTPUT.CLASSES={classes}: give the class index in 1 channel, "
        f"or one channel per class."
    )


def valid_pixels(y_true: KerasTensor, ignore_label: int | None) -> KerasTensor:
    """float32 `(batch, height, width, 1)`: 0 where a mask of any form holds `ignore_label` in every channel, else 1."""
    y_true = low_byte(with_channels(y_true))
    differs = ops.cast(y_true != ops.cast(ignore_label, y_true.dtype), "float32")
    return differs if y_true.shape[-1] == 1 else ops.max(differs, axis=-1, keepdims=True)


def low_byte(y_true: KerasTensor) -> KerasTensor:
    """An ordinary mask of one in which classes may be ignored by themselves, see `utils.base.ignored_classes`."""
    return ops.mod(ops.cast(y_true, "int32"), OF_CLASSES) if y_true.dtype == "uint16" else y_true


def valid_classes(y_true: KerasTensor, classes: int) -> KerasTensor:
    """float32 `(batch, height, width, classes)`: 0 where a class is ignored by itself, else 1."""
    y_true = ops.cast(with_channels(y_true), "int32")
    bits = ops.floor_divide(y_true, [OF_CLASSES * 2**index for index in range(classes)])
    return 1 - ops.cast(ops.mod(bits, 2), "float32")


def with_channels(y_true: KerasTensor) -> KerasTensor:
    """Add the axis of the channels to masks `(batch, height, width)`."""
    y_true = ops.convert_to_tensor(y_true)
    return ops.expand_dims(y_true, -1) if len(y_true.shape) == 3 else y_true


def foreground(maps: KerasTensor, multi_label: bool = False) -> KerasTensor:
    """Drop the background, class 0 on the last axis. A single class is the foreground itself; so are classes that may
    overlap."""
    return maps if maps.shape[-1] == 1 or multi_label else maps[..., 1:]


def with_background(maps: KerasTensor) -> KerasTensor:
    """Add the background `1 - p` in front of a single foreground class; several classes have theirs already."""
    return ops.concatenate([1 - maps, maps], axis=-1) if maps.shape[-1] == 1 else maps


def mean_of_images(values: KerasTensor, counted: KerasTensor | None) -> KerasTensor:
    """Mean over the images that count.

    Args:
        values: float32 `(batch, ...)`; or a scalar, of the whole batch already, which is returned.
        counted: float32 `(batch,)`, 1 of an image and 0 of one that only fills the batch; None: all count.

    >>> float(mean_of_images(ops.convert_to_tensor([1.0, 2.0, 9.0]), ops.convert_to_tensor([1.0, 1.0, 0.0])))
    1.5
    """
    if counted is None or len(values.shape) == 0:
        return ops.mean(values)
    of_images = ops.mean(ops.reshape(values, (*counted.shape, -1)), axis=-1)
    return ops.sum(of_images * counted) / ops.sum(counted)


def mean_of_valid(
    values: KerasTensor, valid: KerasTensor | None, axis: int | Sequence[int] | None = None
) -> KerasTensor:
    """Mean of `values` `(batch, height, width, channels)` over `axis` (None: all) where `valid` is above 0.

    Args:
        values: float32, finite everywhere.
        valid: weights `(batch, height, width, 1)`, or None for all ones. Where nothing is valid the mean is 0.
    """
    if valid is None:
        return ops.mean(values, axis=axis)
    weights = ops.broadcast_to(valid, ops.shape(values))
    return ops.divide_no_nan(ops.sum(values * weights, axis=axis), ops.sum(weights, axis=axis))
