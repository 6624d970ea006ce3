"""Postprocessing of predictions before they are scored: of an image, or in 3-D of a volume."""

from collections.abc import Sequence

import numpy as np
from omegaconf import DictConfig
from scipy.ndimage import label

from utils.base.class_bits import unpack
from utils.base.errors import UserError
from utils.inference.postprocessing import Postprocess, build_postprocessing


def build_evaluation_postprocessing(cfg: DictConfig) -> tuple[Postprocess | None, Sequence[float] | None]:
    """What EVALUATION asks for.

    Returns:
        A function labels -> labels `(slice, row, column)`, or None; the thresholds of
        `utils.inference.class_indices.class_indices`, or None.
    """
    steps: list[Postprocess] = []
    thresholds = None
    if cfg.EVALUATION.POSTPROCESS:
        thresholds, postprocess = cfg.PREDICT.POSTPROCESS.THRESHOLDS, build_postprocessing(cfg)
        # With thresholds alone nothing is left to do, but scores must come from labels, not from probabilities.
        steps.append(slices_last(postprocess) if postprocess else lambda labels: labels)
    if cfg.EVALUATION.KEEP_LARGEST_COMPONENT:
        steps.append(largest_component)

    def run(labels: np.ndarray) -> np.ndarray:
        for step in steps:
            labels = step(labels)
        return labels

    return run if steps else None, thresholds


def describe_postprocessing(cfg: DictConfig) -> str | None:
    """The settings that change predictions before they are scored, as text, or None."""
    parts = ["EVALUATION.KEEP_LARGEST_COMPONENT"] if cfg.EVALUATION.KEEP_LARGEST_COMPONENT else []
    if cfg.EVALUATION.POSTPROCESS:
        parts += [f"PREDICT.POSTPROCESS.{key}={value}" for key, value in cfg.PREDICT.POSTPROCESS.items() if value]
    return ", ".join(parts) or None


def slices_last(postprocess: Postprocess) -> Postprocess:
    """A function of labels `(row, column, slice)` as one of `(slice, row, column)`."""
    return lambda labels: np.moveaxis(postprocess(np.moveaxis(labels, 0, -1)), -1, 0)


def largest_component(labels: np.ndarray) -> np.ndarray:
    """Class indices with only the largest component of the foreground left, all classes together.

    Voxels of a component share a face (pixels of an image an edge); of equally large components the first stays.
    """
    components, count = label(labels > 0)
    if count < 2:
        return labels
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return np.where(components == sizes.argmax(), labels, 0).astype(labels.dtype)


def one_hot(labels: np.ndarray, classes: int, multi_label: bool = False) -> np.ndarray:
    """Class indices `(batch, height, width)` -> float32 probabilities of 0 and 1, `(batch, height, width, classes)`.

    >>> one_hot(np.array([[[0, 1]]]), 2).tolist()
    [[[[1.0, 0.0], [0.0, 1.0]]]]

    With `multi_label` the values are those of `utils.base.class_bits`.
    """
    if multi_label:
        return unpack(labels, classes).astype(np.float32)
    if classes == 1:
        return labels[..., np.newaxis].astype(np.float32)
    return np.eye(classes, dtype=np.float32)[labels]


def stack_slices(slices: Sequence[np.ndarray], volume: str | None) -> np.ndarray:
    """Slices of one size -> `(slice, row, column)`.

    Raises:
        UserError: the sizes differ.
    """
    sizes = {entry.shape for entry in slices}
    if len(sizes) > 1:
        raise UserError(
            f"the slices of volume {volume} have the sizes {' and '.join(f'{h}x{w}' for h, w in sorted(sizes))}; "
            "surfaces and components need one. Set INPUT.HEIGHT and INPUT.WIDTH with PREPROCESS_DATA.RESIZE.VALUE=True."
        )
    return np.stack(slices)
