"""Pixels counted by class, and the scores that follow from the counts."""

from keras import KerasTensor, ops

from losses.targets import foreground, prepare, with_background


def count_pixels(
    y_true: KerasTensor, y_pred: KerasTensor, ignore_label: int | None = None, multi_label: bool = False
) -> tuple[KerasTensor, ...]:
    """Return the common, true and predicted pixels of each class, each float32 `(batch, classes)`."""
    true, predicted, _ = hard_masks(y_true, y_pred, ignore_label, multi_label)
    return tuple(ops.sum(maps, axis=(1, 2)) for maps in (true * predicted, true, predicted))


def count_confusion(y_true: KerasTensor, y_pred: KerasTensor, ignore_label: int | None = None) -> KerasTensor:
    """Return the pixels of each true class (axis 1) predicted as each class (axis 2), float32 `(batch, n, n)`.

    n is the number of classes, of a single class 2: background and foreground.
    """
    true, predicted, valid = hard_masks(y_true, y_pred, ignore_label)
    true, predicted = with_background(true), with_background(predicted)
    if valid is not None:
        true = true * valid  # the background that a single class gets
    return ops.einsum("bhwt,bhwp->btp", true, predicted)


def count_tables(y_true: KerasTensor, y_pred: KerasTensor, ignore_label: int | None = None) -> KerasTensor:
    """Return how sigmoids decide, for each class a table of its own: float32 `(batch, classes + 1, 2, 2)`.

    The rows of a table are truth, its columns prediction, absent first. The first table is of pixels with any class.
    """
    true, predicted, valid = hard_masks(y_true, y_pred, ignore_label, multi_label=True)
    any_true, any_predicted = (ops.max(maps, -1, keepdims=True) for maps in (true, ops.cast(y_pred > 0.5, "float32")))
    true, predicted = ops.concatenate([any_true, true], -1), ops.concatenate([any_predicted, predicted], -1)
    pixels = ops.ones_like(true)
    if valid is not None:  # a class that is there decides about any class, whatever is ignored beside it
        valid = ops.broadcast_to(valid, ops.shape(true[..., 1:]))
        of_any = ops.maximum(any_true, ops.min(valid, axis=-1, keepdims=True))
        pixels = ops.concatenate([of_any, valid], -1)
        predicted = predicted * pixels
    counts = (ops.sum(maps, axis=(1, 2)) for maps in (pixels, true, predicted, true * predicted))
    pixels, true, predicted, common = counts
    table = ops.stack([pixels - true - predicted + common, predicted - common, true - common, common], axis=-1)
    return ops.reshape(table, (-1, table.shape[1], 2, 2))


def hard_masks(
    y_true: KerasTensor, y_pred: KerasTensor, ignore_label: int | None, multi_label: bool = False
) -> tuple[KerasTensor, KerasTensor, KerasTensor | None]:
    """True and predicted maps of 0 and 1, float32 `(batch, height, width, classes)`; ignored pixels are 0 in all."""
    y_true, y_pred, valid = prepare(y_true, y_pred, ignore_label, multi_label)
    classes = y_pred.shape[-1]
    true = ops.cast(y_true > 0.5, "float32")
    if classes == 1 or multi_label:
        predicted = ops.cast(y_pred > 0.5, "float32")
    else:
        predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), classes, dtype="float32")
    return true, predicted if valid is None else predicted * valid, valid


def overlap_results(
    common: KerasTensor,
    true: KerasTensor,
    predicted: KerasTensor,
    multi_label: bool = False,
    background: bool = True,
) -> dict[str, KerasTensor]:
    """Dice and IoU from pixel counts `(classes,)`, of one foreground class or of background and others.

    Of several classes none is the background with `multi_label`; class 0 is none either with `background` false.
    """
    total = true + predicted
    first = 1 if total.shape[-1] == 1 or multi_label else 0  # sigmoids have no results of the background
    every, results = multi_label or not background, {}
    for name, part, whole in (("dice", 2 * common, total), ("iou", common, total - common)):
        results[name] = mean_of_defined(*(foreground(pixels, every) for pixels in (part, whole)))
        results |= of_each_class(name, part / whole, first)
    return results


def of_each_class(name: str, scores: KerasTensor, first: int) -> dict[str, KerasTensor]:
    """`{name_class<n>: score}` of scores `(classes,)`, n from `first` on."""
    return {f"{name}_class{first + index}": scores[index] for index in range(scores.shape[-1])}


def mean_of_defined(part: KerasTensor, whole: KerasTensor) -> KerasTensor:
    """Mean of `part / whole` `(classes,)` over the classes where `whole` is above 0; NaN where there is none."""
    defined = whole > 0
    scores = ops.where(defined, part / ops.where(defined, whole, 1.0), 0.0)
    return ops.sum(scores) / ops.sum(ops.cast(defined, "float32"))
