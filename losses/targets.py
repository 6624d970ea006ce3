"""The forms in which truth and prediction arrive, brought to one."""

from keras import ops

from utils.errors import UserError


def prepare(y_true, y_pred):
    """Return truth and prediction as float32 `(batch, height, width, classes)`; see `to_one_hot` for `y_true`."""
    y_pred = ops.cast(y_pred, "float32")
    y_true = to_one_hot(y_true, y_pred.shape[-1])
    return center_crop(y_true, *y_pred.shape[1:3]), y_pred


def center_crop(maps, height, width):
    """The centre of `(batch, height, width, classes)`: a U-Net without padding predicts no more than that."""
    if None in (height, width, *maps.shape[1:3]) or maps.shape[1:3] == (height, width):
        return maps
    top, left = (maps.shape[1] - height) // 2, (maps.shape[2] - width) // 2
    return maps[:, top : top + height, left : left + width]


def to_one_hot(y_true, classes):
    """Return a mask of any accepted form as one map per class.

    Args:
        y_true: class index per pixel, `(batch, height, width)` or `(batch, height, width, 1)`, any dtype; or one map
            per class, `(batch, height, width, classes)`, one-hot, multi-hot or soft. With one class the map is
            the foreground: 0 or 1.
        classes: int, channels of the prediction.

    Returns:
        float32 `(batch, height, width, classes)`. An index outside the classes belongs to none of them.

    Raises:
        UserError: the last axis is neither 1 nor `classes`.
    """
    y_true = ops.convert_to_tensor(y_true)
    if len(y_true.shape) == 3:
        y_true = ops.expand_dims(y_true, -1)
    channels = y_true.shape[-1]
    if channels == classes:
        return ops.cast(y_true, "float32")
    if channels == 1:
        return ops.one_hot(ops.cast(y_true[..., 0], "int32"), classes, dtype="float32")
    raise UserError(
        f"A mask with {channels} channels does not fit OUTPUT.CLASSES={classes}: give the class index in 1 channel, "
        f"or one channel per class."
    )


def foreground(maps):
    """Drop the background, class 0 on the last axis. A single class is the foreground itself."""
    return maps if maps.shape[-1] == 1 else maps[..., 1:]


def with_background(maps):
    """Add the background `1 - p` in front of a single foreground class; several classes have theirs already."""
    return ops.concatenate([1 - maps, maps], axis=-1) if maps.shape[-1] == 1 else maps
