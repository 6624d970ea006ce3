"""Collect the scores of a split while its images are predicted."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from scipy.ndimage import label

from utils.base.errors import UserError
from utils.base.pictures import displayable
from utils.evaluation.case_scores import Case, find_regions, join_volumes, mean_dice, summarise
from utils.inference.class_indices import center, class_indices
from utils.inference.postprocessing import postprocessing


class Slice(NamedTuple):
    """One predicted image: `picture` `(height, width, 3)` uint8 RGB, truth and prediction `(height, width)` uint8."""

    case: Case
    picture: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


class Measurement:
    """The cases of a split, image by image.

    Memory: the counts of every image, and where whole volumes are looked at (SURFACE, cleaned predictions) the slices
    of the volumes that are not complete yet; of images sorted by name that is one volume.

    Args:
        cfg: checked config; EVALUATION, PREDICT.POSTPROCESS, OUTPUT.CLASSES, DATASET.IGNORE_LABEL are read.
        pairs: list of Pair, image and mask files, in the order in which they come.
        places: list of (volume, slice), one per image, or None.
        spacings: {volume: mm along (slice, row, column), or None where nobody knows}.
        score: function (masks, probabilities) -> confusion matrices `(batch, n, n)`; updates the metrics on the way.
        surface: function (truth, prediction, spacing, tolerance) -> {measure: value}.
        gallery: Gallery that pictures are offered to.
        first: int, number of the first image, among those of all splits.

    Attributes:
        images: list of Case, one per image; volumes: list of Case, empty without places.
    """

    def __init__(self, cfg, pairs, places, spacings, score, surface, gallery, first=0):
        self.settings = cfg.EVALUATION
        self.clean, self.thresholds = cleaning(cfg)
        self.classes = cfg.OUTPUT.CLASSES
        self.ignored = cfg.DATASET.IGNORE_LABEL
        self.center_channel = cfg.SHOW_CENTER_CHANNEL_IMAGE
        self.batch_size = cfg.HYPER_PARAMETERS.BATCH_SIZE
        self.seed = cfg.SEED
        self.regions = find_regions(self.classes)
        self.names = [pair.image.name for pair in pairs]
        self.places, self.spacings = places, spacings
        self.score, self.surface = score, surface
        self.gallery, self.first = gallery, first
        self.images = []
        self.surfaces = {}
        self.waiting = Counter(place.volume for place in places or [])
        self.held = {}

    def add(self, images, masks, probabilities):
        """Add the next batch.

        Args:
            images: `(batch, height, width, channels)` float in [0, 1].
            masks: `(batch, height, width, 1)` class indices.
            probabilities: `(batch, height, width, classes)`; of an unpadded network the centre only.
        """
        confusions = [None] * len(images) if self.clean else np.asarray(self.score(masks, probabilities))
        for image, mask, probability, confusion in zip(
            np.asarray(images), np.asarray(masks), np.asarray(probabilities), confusions, strict=True
        ):
            size = probability.shape[:2]
            entry = Slice(
                self.new_case(confusion),
                displayable(center(image, size), self.center_channel),
                center(mask[..., 0], size),
                class_indices(probability, self.thresholds),
            )
            self.take(entry)

    def new_case(self, confusion):
        number = len(self.images)
        place = self.places[number] if self.places else None
        spacing = self.spacings.get(place.volume) if place else None
        case = Case(
            self.names[number],
            None if confusion is None else confusion.astype(np.int64),
            volume=place and place.volume,
            slice=place and place.slice,
            voxel_ml=None if spacing is None else float(np.prod(spacing)) / 1000,
        )
        self.images.append(case)
        return case

    def take(self, entry):
        """Finish an image at once, or hold it until its volume is complete."""
        if self.places is None or not (self.settings.SURFACE or self.clean):
            self.finish([entry], len(self.images) - 1)
            return
        volume = entry.case.volume
        self.held.setdefault(volume, []).append((len(self.images) - 1, entry))
        self.waiting[volume] -= 1
        if not self.waiting[volume]:
            numbered = sorted(self.held.pop(volume), key=lambda item: item[1].case.slice)
            self.finish([entry for _, entry in numbered], *(number for number, _ in numbered))

    def finish(self, slices, *numbers):
        """Count, measure and picture the slices of a volume, or one image."""
        if self.clean:
            slices = self.cleaned(slices)
        if self.settings.SURFACE:
            self.surfaces[slices[0].case.volume] = self.measure_surfaces(slices)
        for number, entry in zip(numbers, slices, strict=True):
            self.gallery.offer(
                self.first + number, mean_dice(entry.case, self.regions), entry.picture, entry.truth, entry.predicted
            )

    def cleaned(self, slices):
        """The slices with cleaned predictions, counted."""
        cleaned = self.clean(stack([entry.predicted for entry in slices], slices[0].case))
        slices = [entry._replace(predicted=mask) for entry, mask in zip(slices, cleaned, strict=True)]
        for start in range(0, len(slices), self.batch_size):
            batch = slices[start : start + self.batch_size]
            masks = np.stack([entry.truth for entry in batch])[..., np.newaxis]
            confusions = self.score(masks, as_probabilities(np.stack([e.predicted for e in batch]), self.classes))
            for entry, confusion in zip(batch, np.asarray(confusions), strict=True):
                entry.case.confusion = confusion.astype(np.int64)
        return slices

    def measure_surfaces(self, slices):
        """`{region: scores}` of a volume; distances need the region in truth and prediction, else surface Dice is 0."""
        case = slices[0].case
        truth = stack([entry.truth for entry in slices], case)
        predicted = stack([entry.predicted for entry in slices], case)
        valid = True if self.ignored is None else truth != self.ignored
        scores = {}
        for name, region in self.regions.items():
            shapes = [np.isin(labels, region) & valid for labels in (truth, predicted)]
            there = [shape.any() for shape in shapes]
            if all(there):
                spacing, tolerance = self.spacings[case.volume], self.settings.SURFACE_TOLERANCE_MM
                scores[name] = self.surface(*shapes, spacing, tolerance)
            else:
                scores[name] = {"surface_dice": 0.0} if any(there) else None
        return scores

    def result(self):
        """`{"case": "volume" or "image", "cases": int, "regions": see summarise}`; completes `volumes`."""
        self.volumes = join_volumes(self.images) if self.places else []
        for volume in self.volumes:
            volume.surface = self.surfaces.get(volume.volume)
        cases = self.volumes or self.images
        return {
            "case": "volume" if self.volumes else "image",
            "cases": len(cases),
            "regions": summarise(cases, self.regions, self.settings.BOOTSTRAP, self.seed),
        }

    def confusion(self):
        """int64 `(n, n)` of all pixels of the split, rows truth, columns prediction."""
        return sum(case.confusion for case in self.images)


def cleaning(cfg):
    """What EVALUATION asks for: a function labels -> labels `(slice, row, column)` or None, and thresholds or None."""
    steps, thresholds = [], None
    if cfg.EVALUATION.POSTPROCESS:
        clean, thresholds = postprocessing(cfg), cfg.PREDICT.POSTPROCESS.THRESHOLDS
        # The counts come from labels, not from probabilities, wherever thresholds decide.
        steps.append(lambda labels: np.moveaxis(clean(np.moveaxis(labels, 0, -1)), -1, 0) if clean else labels)
    if cfg.EVALUATION.KEEP_LARGEST_COMPONENT:
        steps.append(largest_component)

    def run(labels):
        for step in steps:
            labels = step(labels)
        return labels

    return run if steps else None, thresholds


def largest_component(labels):
    """Class indices with only the largest piece of the foreground left, all classes together.

    Pieces are made of voxels that share a face (edges, of a single image); of equally large ones the first stays.
    """
    pieces, count = label(labels > 0)
    if count < 2:
        return labels
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.where(pieces == sizes.argmax(), labels, 0).astype(labels.dtype)


def as_probabilities(labels, classes):
    """Class indices `(batch, height, width)` -> float32 probabilities of 0 and 1, `(batch, height, width, classes)`."""
    if classes == 1:
        return labels[..., np.newaxis].astype(np.float32)
    return np.eye(classes, dtype=np.float32)[labels]


def stack(slices, case):
    """`(slice, row, column)` of slices of one size."""
    sizes = {entry.shape for entry in slices}
    if len(sizes) > 1:
        raise UserError(
            f"the slices of volume {case.volume} have the sizes {' and '.join(f'{h}x{w}' for h, w in sorted(sizes))}; "
            "surfaces and components need one. Set INPUT.HEIGHT and INPUT.WIDTH with PREPROCESS_DATA.RESIZE.VALUE=True."
        )
    return np.stack(slices)
