"""Metrics of a mask output, collected batch by batch; README.md of this room says which is which published number.

A pixel is predicted as the class of the largest probability (the first of equals), with a single class as foreground
where p > 0.5; it is truly of a class where `y_true` of that class is above 0.5. The forms of `y_true` are those of
`losses.targets.to_one_hot`. Pixels of the ignored label (`ignore_label`, None: there is none) count nowhere.

Every sum is kept exactly enough (`ExactSums`) that neither the size of the batches nor the number of replicas changes
a result. Counts are float32 because TensorFlow keeps int32 variables and sums on the host when the rest is on a GPU;
they are exact, as integers below 2**24 are, for images of up to 4096x4096 pixels.
"""

import keras
import numpy as np
from keras import ops

from losses.targets import foreground, prepare, with_background


def dice_coefficient(cfg):
    """The metric that training watches, `dice_coef`."""
    return DiceCoefficient(cfg.DATASET.IGNORE_LABEL)


def overlap_scores(cfg):
    """Dice and IoU of each class over the whole set."""
    return OverlapScores(cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL)


def confusion_scores(cfg):
    """All that follows from the confusion matrix of the whole set."""
    return ConfusionScores(cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL)


def image_scores(cfg):
    """Dice and IoU of each image, mean over images."""
    return ImageScores(cfg.OUTPUT.CLASSES, cfg.EVALUATION.EMPTY_IMAGES, cfg.DATASET.IGNORE_LABEL)


def channel_scores(cfg):
    """Scores of the probabilities, or of a threshold at 0.5 in each channel."""
    return ChannelScores(cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL)


class ExactSums(keras.metrics.Metric):
    """Sums of non-negative numbers over a set, integers below 2**38 exactly. Replicas add up their own.

    Args:
        shape: of the sums.
        classes: int, channels of the prediction.
        ignore_label: int or None.
    """

    # float32 alone stops counting at 2**24: a sum is kept as `high * UNIT + low`, low below UNIT.
    UNIT = 2**14
    # Scores in [0, 1] are rounded to multiples of 1 / STEPS and summed as integers, of 65,000 images exactly.
    STEPS = 2**22

    def __init__(self, shape, classes, ignore_label, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.classes = classes
        self.ignore_label = ignore_label
        self.low = self.add_variable(shape, "zeros", dtype="float32", name="low")
        self.high = self.add_variable(shape, "zeros", dtype="float32", name="high")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch. Pixels are counted, never weighted: `sample_weight` must be None."""
        if sample_weight is not None:
            raise ValueError(f"{type(self).__name__} counts whole pixels: list it in metrics, not in weighted_metrics.")
        self.add(self.measure(y_true, y_pred))

    def measure(self, y_true, y_pred):
        """The numbers of each image: float32 `(batch, *shape)`, up to 1000 images of up to 2**24."""
        raise NotImplementedError

    def add(self, numbers):
        high = ops.floor(numbers / self.UNIT)
        low = self.low + ops.sum(numbers - high * self.UNIT, axis=0)
        carry = ops.floor(low / self.UNIT)
        self.low.assign(low - carry * self.UNIT)
        self.high.assign(self.high + ops.sum(high, axis=0) + carry)

    def sums(self):
        """The sums as float32, rounded to 24 bits."""
        return self.high * self.UNIT + self.low

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "ignore_label": self.ignore_label}


class DiceCoefficient(ExactSums):
    """Mean over images of the Dice coefficient of the foreground, in [0, 1].

    An image where truth and prediction are both empty counts 1, so that many empty images flatter the mean:
    `OverlapScores` does not have this, nor has `ImageScores` unless asked. For one and two classes the value is that of
    the TensorFlow port of UNet 3+, smoothing of 1e-9 included. With more classes it is the mean over the foreground
    classes, each absent from truth and prediction counting 1; the port multiplies label numbers there, which is no
    Dice coefficient.
    """

    def __init__(self, ignore_label=None, name="dice_coef", dtype=None):
        super().__init__((2,), None, ignore_label, name, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch; `sample_weight` is one weight of at least 0 per image."""
        counts = count_pixels(y_true, y_pred, self.ignore_label)
        common, true, predicted = (foreground(pixels) for pixels in counts)
        dice = ops.mean((2 * common + 1e-9) / (true + predicted + 1e-9), axis=-1)
        weight = ops.ones_like(dice) if sample_weight is None else ops.cast(sample_weight, "float32")
        self.add(ops.stack([ops.round(dice * weight * self.STEPS), weight], axis=-1))

    def result(self):
        total, images = ops.unstack(self.sums(), 2)
        return ops.divide_no_nan(total / self.STEPS, images)

    def get_config(self):
        config = super().get_config()
        del config["classes"]
        return config


class OverlapScores(ExactSums):
    """Dice and IoU of each class from the pixels of the whole set, as if it was one image.

    `result()` is a dict of scalars in [0, 1]: `dice`, `iou` are the means over the foreground classes that occur in
    truth or prediction, `dice_class1`, `iou_class1` ... are those of one class; `..._class0`, the background, is there
    with several classes. A class that never occurs is NaN; so are the means if none occurs.
    """

    def __init__(self, classes, ignore_label=None, name="overlap", dtype=None):
        super().__init__((3, classes), classes, ignore_label, name, dtype)

    def measure(self, y_true, y_pred):
        return ops.stack(count_pixels(y_true, y_pred, self.ignore_label), axis=1)

    def result(self):
        return overlap_results(*ops.unstack(self.sums(), 3))


class ConfusionScores(ExactSums):
    """What follows from the confusion matrix of the whole set.

    `result()` is a dict of scalars in [0, 1], NaN where there is nothing to divide by:

        dice, iou, and both for each class: as `OverlapScores`;
        sensitivity (true-positive rate, recall), precision, specificity: mean over foreground classes, and each class;
        dice_all_classes, iou_all_classes, sensitivity_all_classes: mean over all classes, background included;
        pixel_accuracy: share of pixels whose class is right.

    Means leave out the classes where the score is not defined. Each pixel has one true class: with overlapping maps
    a pixel counts in the row of each.
    """

    def __init__(self, classes, ignore_label=None, name="confusion", dtype=None):
        size = max(classes, 2)
        super().__init__((size, size), classes, ignore_label, name, dtype)

    def measure(self, y_true, y_pred):
        return count_confusion(y_true, y_pred, self.ignore_label)

    def confusion_matrix(self):
        """Pixels of each true class (row) predicted as each class (column): exact int64 array, a single class as two.

        Call it after the evaluation, outside the step.
        """
        low, high = (ops.convert_to_numpy(part).astype(np.int64) for part in (self.low, self.high))
        return high * self.UNIT + low

    def result(self):
        matrix = self.sums()
        common, true, predicted = ops.diagonal(matrix), ops.sum(matrix, axis=1), ops.sum(matrix, axis=0)
        pixels = ops.sum(true)
        negative = pixels - true
        first = 1 if self.classes == 1 else 0  # a single class has no results of its background
        results = overlap_results(common[first:], true[first:], predicted[first:])
        for name, part, whole in (
            ("sensitivity", common, true),
            ("precision", common, predicted),
            ("specificity", negative - (predicted - common), negative),
        ):
            results[name] = mean_of_defined(part[1:], whole[1:])
            results |= of_each_class(name, (part / whole)[first:], first)
        results["dice_all_classes"] = mean_of_defined(2 * common, true + predicted)
        results["iou_all_classes"] = mean_of_defined(common, true + predicted - common)
        results["sensitivity_all_classes"] = mean_of_defined(common, true)
        results["pixel_accuracy"] = ops.sum(common) / pixels
        return results


class ImageScores(ExactSums):
    """Dice and IoU of each class in each image, mean over images.

    `result()` is a dict of scalars in [0, 1]: `dice_images_class1`, `iou_images_class1` ... are the means over images,
    `dice_images`, `iou_images` the means of those over the foreground classes. No image counted is NaN, and left out
    of the mean over classes.

    Args:
        empty: what an image counts where a class is absent from truth and prediction: "one", "zero", or "skip", not at
            all. Where only the truth is without the class the image always counts 0.
    """

    def __init__(self, classes, empty="skip", ignore_label=None, name="images", dtype=None):
        # Axis 0: Dice, IoU, images counted.
        super().__init__((3, max(classes - 1, 1)), classes, ignore_label, name, dtype)
        self.empty = empty

    def measure(self, y_true, y_pred):
        counts = count_pixels(y_true, y_pred, self.ignore_label)
        common, true, predicted = (foreground(pixels) for pixels in counts)
        total = true + predicted
        value = 1.0 if self.empty == "one" else 0.0
        dice = ops.where(total > 0, 2 * common / ops.maximum(total, 1.0), value)
        iou = ops.where(total > 0, common / ops.maximum(total - common, 1.0), value)
        counted = ops.cast(total > 0, "float32") if self.empty == "skip" else ops.ones_like(total)
        return ops.stack([ops.round(dice * self.STEPS), ops.round(iou * self.STEPS), counted], axis=1)

    def result(self):
        dice, iou, images = ops.unstack(self.sums(), 3)
        results = {}
        for name, total in (("dice_images", dice), ("iou_images", iou)):
            results[name] = mean_of_defined(total / self.STEPS, images)
            results |= of_each_class(name, total / self.STEPS / images, first=1)
        return results

    def get_config(self):
        return {**super().get_config(), "empty": self.empty}


class ChannelScores(ExactSums):
    """Scores of each channel for itself, whichever is the largest, over the whole set.

    `result()` is a dict of scalars in [0, 1], of all channels (the background of several included):

        soft_dice_flat: `(2 sum(y p) + 1) / (sum(y) + sum(p) + 1)`, sums over pixels and channels;
        soft_dice_channels: the same with sums over the pixels of a channel, mean over channels;
        binary_accuracy: share of (pixel, channel) pairs where p > 0.5 just where the truth is.
    """

    def __init__(self, classes, ignore_label=None, name="channels", dtype=None):
        # Axis 0: products, truths, probabilities, right decisions, pixels.
        super().__init__((5, classes), classes, ignore_label, name, dtype)

    def measure(self, y_true, y_pred):
        y_true, y_pred, valid = prepare(y_true, y_pred, self.ignore_label)
        counted = ops.ones_like(y_pred) if valid is None else ops.broadcast_to(valid, ops.shape(y_pred))
        right = ops.cast((y_true > 0.5) == (y_pred > 0.5), "float32")
        maps = (y_true * y_pred, y_true, y_pred, right, ops.ones_like(y_pred))
        return ops.stack([ops.sum(values * counted, axis=(1, 2)) for values in maps], axis=1)

    def result(self):
        common, true, predicted, right, pixels = ops.unstack(self.sums(), 5)
        return {
            "soft_dice_flat": (2 * ops.sum(common) + 1) / (ops.sum(true + predicted) + 1),
            "soft_dice_channels": ops.mean((2 * common + 1) / (true + predicted + 1)),
            "binary_accuracy": ops.sum(right) / ops.sum(pixels),
        }


def overlap_results(common, true, predicted):
    """Dice and IoU from pixel counts `(classes,)`, of one foreground class or of background and others."""
    total = true + predicted
    first = 1 if total.shape[-1] == 1 else 0  # a single class has no results of its background
    results = {}
    for name, part, whole in (("dice", 2 * common, total), ("iou", common, total - common)):
        results[name] = mean_of_defined(foreground(part), foreground(whole))
        results |= of_each_class(name, part / whole, first)
    return results


def of_each_class(name, scores, first):
    """`{name_class<n>: score}` of scores `(classes,)`, n from `first` on."""
    return {f"{name}_class{first + index}": scores[index] for index in range(scores.shape[-1])}


def mean_of_defined(part, whole):
    """Mean of `part / whole` `(classes,)` over the classes where `whole` is above 0; NaN where there is none."""
    defined = whole > 0
    scores = ops.where(defined, part / ops.where(defined, whole, 1.0), 0.0)
    return ops.sum(scores) / ops.sum(ops.cast(defined, "float32"))


def hard_masks(y_true, y_pred, ignore_label):
    """True and predicted maps of 0 and 1, float32 `(batch, height, width, classes)`; ignored pixels are 0 in all."""
    y_true, y_pred, valid = prepare(y_true, y_pred, ignore_label)
    classes = y_pred.shape[-1]
    true = ops.cast(y_true > 0.5, "float32")
    if classes == 1:
        predicted = ops.cast(y_pred > 0.5, "float32")
    else:
        predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), classes, dtype="float32")
    return true, predicted if valid is None else predicted * valid, valid


def count_pixels(y_true, y_pred, ignore_label=None):
    """Return the common, true and predicted pixels of each class, each float32 `(batch, classes)`."""
    true, predicted, _ = hard_masks(y_true, y_pred, ignore_label)
    return tuple(ops.sum(maps, axis=(1, 2)) for maps in (true * predicted, true, predicted))


def count_confusion(y_true, y_pred, ignore_label=None):
    """Return the pixels of each true class (axis 1) predicted as each class (axis 2), float32 `(batch, n, n)`.

    n is the number of classes, of a single class 2: background and foreground.
    """
    true, predicted, valid = hard_masks(y_true, y_pred, ignore_label)
    true, predicted = with_background(true), with_background(predicted)
    if valid is not None:
        true = true * valid  # the background that a single class gets
    return ops.einsum("bhwt,bhwp->btp", true, predicted)
