"""The loss and the metrics of a whole model: every mask output, and the classifier of the CGM."""

from collections.abc import Callable, Iterable, Mapping

import keras
from keras import KerasTensor, ops
from omegaconf import DictConfig

from losses import build_loss, build_metrics
from losses.targets import foreground, mean_of_images, to_one_hot
from utils.base.classes import is_multi_label
from utils.base.errors import UserError

TrainingLoss = Callable[..., KerasTensor]  # (y_true, outputs, boundary_weights=None, counted=None) -> scalar


def presence_target(
    y_true: KerasTensor, classes: int, ignore_label: int | None = None, multi_label: bool = False
) -> KerasTensor:
    """Which foreground classes occur: masks `(batch, height, width, 1 or classes)` -> `(batch, foreground)` 0 or 1."""
    return foreground(ops.max(to_one_hot(y_true, classes, ignore_label, multi_label), axis=(1, 2)), multi_label)


def build_training_loss(cfg: DictConfig) -> TrainingLoss:
    """The loss of a dict of outputs: the mask loss of each mask output, plus binary cross-entropy of `presence`.

    Returns:
        `loss(y_true, outputs, boundary_weights=None, counted=None) -> scalar`, y_true the mask
        `(batch, height, width, 1 or classes)`, outputs the dict of `models.build_model`, boundary_weights the third
        part of a batch if LOSS has a term that needs it, counted as in `losses.targets.mean_of_images`. Side outputs
        count as much as the mask itself (UNet 3+, section 3.2) unless MODEL.DEEP_SUPERVISION_WEIGHTS says otherwise.
    """
    if cfg.MODEL.TYPE == "classifier":
        crossentropy = keras.losses.categorical_crossentropy if one_of_many(cfg) else keras.losses.binary_crossentropy
        return lambda y_true, outputs, boundary_weights=None, counted=None: mean_of_images(
            crossentropy(y_true, outputs["label"]), counted
        )
    mask_loss = build_loss(cfg)
    form = (cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL, is_multi_label(cfg))
    weights = cfg.MODEL.DEEP_SUPERVISION_WEIGHTS

    def loss(
        y_true: KerasTensor,
        outputs: Mapping[str, KerasTensor],
        boundary_weights: KerasTensor | None = None,
        counted: KerasTensor | None = None,
    ) -> KerasTensor:
        masks = [output for name, output in outputs.items() if name != "presence"]
        if weights is not None and len(weights) != len(masks):
            raise UserError(
                f"MODEL.DEEP_SUPERVISION_WEIGHTS={list(weights)} needs {len(masks)} entries, one for each of "
                f"{', '.join(name for name in outputs if name != 'presence')}."
            )
        total = sum(
            weight * mask_loss(y_true, mask, boundary_weights, counted)
            for weight, mask in zip(weights or [1] * len(masks), masks, strict=True)
        )
        if "presence" in outputs:
            presence = presence_target(y_true, *form)
            crossentropy = keras.losses.binary_crossentropy(presence, outputs["presence"])
            total = total + mean_of_images(crossentropy, counted)
        return total

    return loss


def one_of_many(cfg: DictConfig) -> bool:
    """Whether a classifier decides for one of its classes (softmax), not for each of them (sigmoid)."""
    return cfg.OUTPUT.CLASSES > 1 and cfg.MODEL.CLASSIFIER_ACTIVATION != "sigmoid"


class PresenceAccuracy(keras.metrics.BinaryAccuracy):
    """Share of (image, foreground class) pairs whose presence the classifier decides rightly (p > 0.5)."""

    def __init__(
        self,
        classes: int,
        ignore_label: int | None = None,
        multi_label: bool = False,
        name: str = "presence_accuracy",
    ) -> None:
        super().__init__(name=name)
        self.form = (classes, ignore_label, multi_label)

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None) -> None:
        super().update_state(presence_target(y_true, *self.form), y_pred, sample_weight)


class RocAuc(keras.metrics.AUC):
    """Area under the ROC curve by 200 thresholds: the mean over the classes that some images have and some have not.

    NaN where there is no such class. (Keras's own mean counts a class that no image has as 0.)
    """

    def __init__(self, classes: int, name: str = "roc_auc") -> None:
        super().__init__(multi_label=True, num_labels=classes, name=name)

    def result(self) -> KerasTensor:
        positives = self.true_positives + self.false_negatives
        negatives = self.false_positives + self.true_negatives
        rate = ops.divide_no_nan(self.true_positives, positives)
        false_rate = ops.divide_no_nan(self.false_positives, negatives)
        area = ops.sum((false_rate[:-1] - false_rate[1:]) * (rate[:-1] + rate[1:]) / 2, axis=0)
        defined = ops.cast((positives[0] > 0) & (negatives[0] > 0), area.dtype)
        return ops.sum(area * defined) / ops.sum(defined)


def build_output_metrics(
    cfg: DictConfig, outputs: Iterable[str], mask: str = "mask", full: bool = False
) -> dict[str, list[keras.metrics.Metric]]:
    """The metrics of each output that has some: `{output name: list of metrics}`.

    Of a classifier: `accuracy` (share of images, or with sigmoid of image-class pairs, decided rightly) and `roc_auc`
    (see RocAuc).

    Args:
        outputs: the names of the model's outputs.
        mask: the output that is the prediction.
        full: see `losses.build_metrics`.
    """
    if "label" in outputs:
        accuracy = keras.metrics.CategoricalAccuracy if one_of_many(cfg) else keras.metrics.BinaryAccuracy
        return {"label": [accuracy(name="accuracy"), RocAuc(cfg.OUTPUT.CLASSES)]}
    metrics = {mask: build_metrics(cfg, full)}
    if "presence" in outputs:
        form = (cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL, is_multi_label(cfg))
        metrics["presence"] = [PresenceAccuracy(*form)]
    return metrics
