"""Scores of whole images, class by class, for `EVALUATION.METRICS` that name some of `losses.IMAGE_METRICS`."""

from typing import Any

import numpy as np
from omegaconf import DictConfig

from losses import build_image_metrics
from losses.whole_images import ClassMaps
from utils.base.class_bits import in_region
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.ignored_classes import is_known
from utils.base.pieces import objects_by_class
from utils.evaluation.case_scores import Regions, ScoredCase
from utils.inference.instances import object_classes


class ImageScores:
    """Measures each class of each image.

    Args:
        cfg: checked config; EVALUATION.METRICS, OUTPUT, DATASET.IGNORE_LABEL are read.
        regions: of `utils.evaluation.case_scores.find_regions`; those of a single class are measured.
        of_volumes: whether to measure what takes whole volumes where there are some, or the others.
    """

    def __init__(self, cfg: DictConfig, regions: Regions, of_volumes: bool = False) -> None:
        self.multi_label, self.ignore_label = is_multi_label(cfg), cfg.DATASET.IGNORE_LABEL
        self.first = number_of_classes(cfg) - cfg.OUTPUT.CLASSES  # the class of channel 0
        self.classes = {name: region[0] for name, region in regions.items() if len(region) == 1}
        self.metrics = {
            name: [metric for metric in build_image_metrics(cfg).values() if metric.of_volumes == of_volumes]
            for name in self.classes
        }
        self.objects = object_classes(cfg)
        self.cases: list[ScoredCase] = []

    def __bool__(self) -> bool:
        """Whether there is anything to measure."""
        return any(self.metrics.values())

    @property
    def of_objects(self) -> bool:
        """Whether label images of objects are of use."""
        return any(metric.of_objects for metrics in self.metrics.values() for metric in metrics)

    def add(
        self,
        case: ScoredCase,
        truth: np.ndarray,
        predicted: np.ndarray,
        probability: np.ndarray | None = None,
        voxel_ml: float | None = None,
        objects: np.ndarray | None = None,
        found: np.ndarray | None = None,
    ) -> None:
        """Add an image, or a volume.

        Args:
            case: that of the image or volume.
            truth, predicted: `(height, width)` or `(slice, row, column)` uint8 class indices.
            probability: float `(height, width, channels)`; None: certain of what is predicted.
            voxel_ml: volume of a voxel, in which sizes of lesions are measured; None: in pixels or voxels.
            objects, found: int `(height, width)`, label images of the true and the predicted objects; None: they are
                the connected pieces of a class.
        """
        self.cases.append(case)
        known = True if self.ignore_label is None else truth != self.ignore_label
        numbered = [
            {} if image is None else objects_by_class(np.where(known, image, 0), labels, self.objects)
            for image, labels in ((objects, truth), (found, predicted))
        ]
        for region, metrics in self.metrics.items():
            if metrics:
                index = self.classes[region]
                valid = is_known(truth, [index], self.ignore_label, self.multi_label)
                true, area = (in_region(labels, [index], self.multi_label) & valid for labels in (truth, predicted))
                certain = area.astype(np.float32) if probability is None else probability[..., index - self.first]
                maps = ClassMaps(true, area, certain, valid, voxel_ml, *(images.get(index) for images in numbered))
                for metric in metrics:
                    metric.add(maps)

    def finish(self) -> dict[str, dict[str, Any]]:
        """Note the scores in each case.

        Returns:
            Scores of the whole set that no single image has, `{region: {score: entry}}` as in `score_set`.
        """
        whole: dict[str, dict[str, Any]] = {region: {} for region in self.classes}
        for region, metrics in self.metrics.items():
            for metric in metrics:
                for score, found in metric.results().items():
                    if isinstance(found, list):
                        for case, part in zip(self.cases, found, strict=True):
                            case.image_scores.setdefault(region, {})[score] = part
                    else:
                        whole[region][score] = {"value": found, "low": None, "high": None, "cases": len(self.cases)}
        return whole
