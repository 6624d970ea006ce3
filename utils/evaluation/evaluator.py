"""Collect the scores of a split while its images are predicted."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from data_generators.files.volume_slices import VolumeSlice
from losses.calibration import Calibration
from losses.surface import surface_dice_names, surface_scores
from utils.base.class_bits import in_region
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.ignored_classes import is_known, known_only
from utils.base.pictures import displayable
from utils.config.class_names import has_background
from utils.evaluation.case_scores import ScoredCase, find_regions, join_volumes, mean_dice, score_set
from utils.evaluation.gallery import Gallery
from utils.evaluation.groups import read_groups_of_split, score_groups
from utils.evaluation.image_objects import ImageObjects
from utils.evaluation.image_scores import ImageScores
from utils.evaluation.positions import score_positions
from utils.evaluation.postprocessing import build_evaluation_postprocessing, one_hot, stack_slices
from utils.evaluation.split_data import SplitData
from utils.inference.class_indices import center_crop, class_indices


class PredictedSlice(NamedTuple):
    """One predicted image.

    number: of the image in its split; picture: `(height, width, 3)` uint8 RGB, or the image it is made of, float
    `(height, width, channels)`; truth and predicted: `(height, width)` uint8 class indices; objects: the label image of
    the true objects, int32 `(height, width)`, or None; probability: kept where predicted objects need it.
    """

    number: int
    case: ScoredCase
    picture: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    objects: np.ndarray | None = None
    probability: np.ndarray | None = None


class VolumeBuffer:
    """Keeps slices until their volume is complete. With images sorted by name that is one volume at a time."""

    def __init__(self, places: Sequence[VolumeSlice]) -> None:
        self.missing = Counter(place.volume for place in places)
        self.slices: dict[str | None, list[PredictedSlice]] = {}

    def add(self, predicted: PredictedSlice) -> list[PredictedSlice]:
        """Add a slice; return all slices of its volume, in order, if it was the last one, else nothing."""
        volume = predicted.case.volume
        self.slices.setdefault(volume, []).append(predicted)
        self.missing[str(volume)] -= 1
        if self.missing[str(volume)]:
            return []
        return sorted(self.slices.pop(volume), key=lambda entry: entry.case.slice or 0)


class Evaluator:
    """The cases of a split, image by image.

    Memory: the counts of every image and, if whole volumes are needed (SURFACE, postprocessing), the slices of
    incomplete volumes.

    Args:
        cfg: checked config; EVALUATION, PREDICT.POSTPROCESS, OUTPUT.CLASSES, DATASET.IGNORE_LABEL are read.
        data: the images of the split, in the order in which they come.
        update: function (masks, probabilities) -> confusions of `ScoredCase`; it also updates metrics.
        gallery: is offered every picture.
        of_masks: whether masks are scored that no network predicted: then `add` and `update` take class indices.
        calibrated: whether a temperature is applied: then `add` takes the probabilities before it, too.

    Attributes:
        images: a case per image; volumes: a case per volume, once `result` was called.
        calibration: of the probabilities; uncalibrated: of those before a temperature was applied, where one was.
    """

    def __init__(
        self,
        cfg: DictConfig,
        data: SplitData,
        update: Callable[..., Any],
        gallery: Gallery,
        of_masks: bool = False,
        calibrated: bool = False,
    ) -> None:
        self.settings = cfg.EVALUATION
        self.postprocess, self.thresholds = build_evaluation_postprocessing(cfg)
        self.classes, self.ignore_label = cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL
        self.center_channel = cfg.SHOW_CENTER_CHANNEL_IMAGE
        self.batch_size, self.seed = cfg.HYPER_PARAMETERS.BATCH_SIZE, cfg.SEED
        self.multi_label = is_multi_label(cfg)
        self.regions = find_regions(number_of_classes(cfg), has_background(cfg))
        self.data, self.update, self.gallery, self.of_masks = data, update, gallery, of_masks
        self.groups = read_groups_of_split(cfg, data)
        self.image_scores = ImageScores(cfg, self.regions)
        self.objects = ImageObjects(cfg, data, self.image_scores.of_objects)
        self.calibration = None if of_masks else Calibration.if_chosen(cfg)
        self.uncalibrated = Calibration.from_config(cfg) if self.calibration and calibrated else None
        self.volume_scores = ImageScores(cfg, self.regions, of_volumes=True)
        self.images: list[ScoredCase] = []
        self.volumes: list[ScoredCase] = []
        self.surfaces: dict[str | None, dict[str, dict[str, float] | None]] = {}
        needs_volumes = self.settings.SURFACE or self.postprocess or self.volume_scores
        self.buffer = VolumeBuffer(data.places) if data.places and needs_volumes else None

    def add(
        self, images: np.ndarray, masks: np.ndarray, probabilities: np.ndarray, before: np.ndarray | None = None
    ) -> None:
        """Add the next batch.

        Args:
            images: `(batch, height, width, channels)` float in [0, 1].
            masks: `(batch, height, width, 1)` class indices.
            probabilities: `(batch, height, width, classes)`; of an unpadded network the centre only. With `of_masks`
                class indices, uint8 `(batch, height, width)`.
            before: the probabilities before the temperature, with `calibrated`.
        """
        images, probabilities = np.asarray(images), np.asarray(probabilities)
        labels = np.asarray(masks)[..., 0]
        # Postprocessed predictions are counted later.
        confusions = [None] * len(images) if self.postprocess else np.asarray(self.update(masks, probabilities))
        if self.uncalibrated and before is not None:
            self.uncalibrated.add(np.stack([center_crop(truth, before.shape[1:3]) for truth in labels]), before)
        for image, truth, probability, confusion in zip(images, labels, probabilities, confusions, strict=True):
            size = probability.shape[:2]
            predicted = PredictedSlice(
                len(self.images),
                self.new_case(confusion),
                center_crop(image, size),
                center_crop(truth, size),
                probability if self.of_masks else class_indices(probability, self.thresholds, self.multi_label),
                self.objects.true(len(self.images) - 1, truth.shape, size),
                probability if self.objects.needs_probability else None,
            )
            if self.buffer:
                predicted = predicted._replace(picture=self.draw(predicted.picture))  # takes less memory
            if self.calibration:
                self.calibration.add(predicted.truth, probability)
            if not self.postprocess:
                self.measure(predicted, None if self.of_masks else probability)
            complete = self.buffer.add(predicted) if self.buffer else [predicted]
            if complete:
                self.finish(complete)

    def new_case(self, confusion: np.ndarray | None) -> ScoredCase:
        """The case of the next image; its confusion matrix may follow."""
        number = len(self.images)
        place = self.data.places[number] if self.data.places else None
        spacing = self.data.spacings.get(place.volume) if place else None
        case = ScoredCase(
            self.data.pairs[number].image.name,
            np.zeros(0, np.int64) if confusion is None else confusion.astype(np.int64),
            fold=self.data.folds[number] if self.data.folds else None,
            volume=place and place.volume,
            slice=place and place.slice,
            voxel_ml=None if spacing is None else float(np.prod(spacing)) / 1000,
        )
        self.images.append(case)
        return case

    def finish(self, slices: list[PredictedSlice]) -> None:
        """Score the slices of a volume, or one image, and offer their pictures."""
        if self.postprocess:
            slices = self.postprocessed(slices)
        if self.settings.SURFACE:
            self.surfaces[slices[0].case.volume] = self.score_surfaces(slices)
        if self.volume_scores:
            self.score_whole(slices)
        for entry in slices:
            number, dice = self.data.first + entry.number, mean_dice(entry.case, self.regions)
            if self.gallery.wants(number, dice):
                self.gallery.offer(number, dice, self.draw(entry.picture), *known_only(entry.truth, entry.predicted))

    def draw(self, image: np.ndarray) -> np.ndarray:
        """The picture of an image; a picture stays."""
        return image if image.dtype == np.uint8 else displayable(image, self.center_channel)

    def postprocessed(self, slices: list[PredictedSlice]) -> list[PredictedSlice]:
        """The slices with postprocessed predictions, which are counted."""
        assert self.postprocess is not None
        labels = self.postprocess(stack_slices([entry.predicted for entry in slices], slices[0].case.volume))
        slices = [entry._replace(predicted=one) for entry, one in zip(slices, labels, strict=True)]
        for start in range(0, len(slices), self.batch_size):
            batch = slices[start : start + self.batch_size]
            masks = np.stack([entry.truth for entry in batch])[..., np.newaxis]
            labels = np.stack([entry.predicted for entry in batch])
            predicted = labels if self.of_masks else one_hot(labels, self.classes, self.multi_label)
            confusions = np.asarray(self.update(masks, predicted))
            for entry, confusion, probability in zip(batch, confusions, predicted, strict=True):
                entry.case.confusion = confusion.astype(np.int64)
                self.measure(entry, None if self.of_masks else probability)
        return slices

    def measure(self, entry: PredictedSlice, certainty: np.ndarray | None) -> None:
        """Measure an image whose mask is final; `certainty`: its probabilities, as `ImageScores.add` takes them."""
        found = self.objects.predicted(entry.number, entry.predicted, entry.probability)
        self.image_scores.add(entry.case, entry.truth, entry.predicted, certainty, objects=entry.objects, found=found)

    def score_surfaces(self, slices: list[PredictedSlice]) -> dict[str, dict[str, float] | None]:
        """`{region: scores}` of a volume; distances need the region in truth and prediction, else surface Dice is 0."""
        volume = slices[0].case.volume
        spacing = self.data.spacings[str(volume)]
        assert spacing is not None  # checked before volumes are collected
        truth = stack_slices([entry.truth for entry in slices], volume)
        predicted = stack_slices([entry.predicted for entry in slices], volume)
        tolerance = self.settings.SURFACE_TOLERANCE_MM
        scores: dict[str, dict[str, float] | None] = {}
        for name, region in self.regions.items():
            valid = is_known(truth, region, self.ignore_label, self.multi_label)
            true, found = (in_region(labels, region, self.multi_label) & valid for labels in (truth, predicted))
            if true.any() and found.any():
                scores[name] = surface_scores(true, found, spacing, tolerance)
            else:
                missed = dict.fromkeys(surface_dice_names(tolerance), 0.0)
                scores[name] = missed if true.any() or found.any() else None
        return scores

    def score_whole(self, slices: list[PredictedSlice]) -> None:
        """Measure a whole volume, or one image where there are no volumes."""
        case = slices[0].case
        if case.volume is None:
            self.volume_scores.add(case, slices[0].truth, slices[0].predicted)
            return
        whole = ScoredCase(case.volume, np.zeros(0, np.int64), case.volume)
        truth, predicted = [entry.truth for entry in slices], [entry.predicted for entry in slices]
        # Sizes of all volumes have one unit.
        voxel_ml = None if None in self.data.spacings.values() else case.voxel_ml
        whole_truth, whole_predicted = stack_slices(truth, case.volume), stack_slices(predicted, case.volume)
        self.volume_scores.add(whole, whole_truth, whole_predicted, voxel_ml=voxel_ml)

    def result(self) -> dict[str, Any]:
        """`{"case": "volume" or "image", "cases": int, "regions": see score_set}`; completes `volumes`.

        With groups also `groups` of `score_groups`, with volumes `positions` of `score_positions`.
        """
        of_sets = self.image_scores.finish(), self.volume_scores.finish()
        whole_volumes = {case.volume: case.image_scores for case in self.volume_scores.cases if case.volume is not None}
        self.volumes = join_volumes(self.images) if self.data.places else []
        for volume in self.volumes:
            volume.surface = self.surfaces.get(volume.volume)
            for region, found in whole_volumes.get(volume.name, {}).items():
                volume.image_scores.setdefault(region, {}).update(found)
        cases = self.volumes or self.images
        regions = score_set(cases, self.regions, self.settings.BOOTSTRAP, self.seed)
        for of_set in of_sets:
            for region, scores in of_set.items():
                regions[region] |= scores
        of_groups = score_groups(self.groups, cases, self.regions, self.settings.BOOTSTRAP, self.seed)
        return {
            "case": "volume" if self.volumes else "image",
            "cases": len(cases),
            "regions": regions,
            **({"groups": of_groups} if of_groups else {}),
            **({"positions": score_positions(self.images, self.regions)} if self.volumes else {}),
        }

    def confusion(self) -> np.ndarray:
        """The `ScoredCase.confusion` of all pixels of the split."""
        return np.sum([case.confusion for case in self.images], axis=0)
