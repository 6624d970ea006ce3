"""Tables in CSV: areas of each class, run-length encoded masks, labels of a classifier.

Names that a spreadsheet would run as formulas get an apostrophe, but for `rle.csv`, which programs read.
"""

import csv

import numpy as np

from utils.base import rle
from utils.base.class_bits import count_classes, in_region
from utils.base.text_files import spreadsheet_cell
from utils.inference.uncertainty.learnt import flag_text
from utils.inference.writers import LabelPrediction, MaskPrediction, WriterSettings
from utils.inference.writers.text_file import TextFileWriter

CASE_COLUMNS = ("uncertainty", "volume_cv", "expected_dice", "predicted_dice", "flag")


def case_cells(prediction: MaskPrediction, settings: WriterSettings) -> list[str]:
    """The cells of CASE_COLUMNS: numbers that are not known are empty, and so is the flag."""
    assert prediction.sums is not None
    numbers = prediction.sums.numbers()
    predicted = flag = None
    if settings.learnt:
        predicted, flag = settings.learnt.judge(numbers.expected_dice, prediction.source.is_series)
    cells = ["" if value is None else f"{value:.4f}" for value in (*numbers, predicted)]
    return [*cells, flag_text(flag)]


class AreaWriter(TextFileWriter[MaskPrediction]):
    """Writes `predictions.csv`: for each image its size, the pixels of each class and the mean confidence.

    With PREDICT.INSTANCES also the number of objects of each class that may have some.
    With PREDICT.UNCERTAINTY also how sure the mask is, and with the fingerprint of the training set in what the file is
    unlike it: the same in each row of a series.
    """

    file_name = "predictions.csv"

    def begin(self) -> None:
        self.rows = csv.writer(self.file)
        areas = [f"area_{name}" for name in self.settings.class_names]
        sure = [*CASE_COLUMNS] if self.settings.measure else []
        sure += ["unlike_training"] if self.settings.fingerprint is not None else []
        classes = self.settings.instances.classes if self.settings.instances else ()
        counts = [f"objects_{self.settings.class_names[index]}" for index in classes]
        self.rows.writerow(["file", "index", "height", "width", *areas, "confidence", *counts, *sure])

    def write(self, prediction: MaskPrediction) -> None:
        source, classes = prediction.source, len(self.settings.class_names)
        sure = case_cells(prediction, self.settings) if self.settings.measure else []
        sure += ["; ".join(prediction.unlike)] if self.settings.fingerprint is not None else []
        for index, (labels, confidence) in enumerate(zip(prediction.labels, prediction.confidences, strict=True)):
            areas = count_classes(np.bincount(labels.ravel()), classes, self.settings.multi_label).tolist()
            position = index if source.is_series else ""
            size, place = labels.shape, [spreadsheet_cell(source.path), position]
            counts = self.count(prediction.objects[index], labels) if self.settings.instances else []
            self.rows.writerow([*place, *size, *areas, f"{confidence:.4f}", *counts, *sure])

    def count(self, objects: np.ndarray, labels: np.ndarray) -> list[int]:
        """How many objects of each class there are in an image."""
        assert self.settings.instances is not None
        return [int(found.max(initial=0)) for found in self.settings.instances.by_class(objects, labels).values()]


class RleWriter(TextFileWriter[MaskPrediction]):
    """Writes `rle.csv`: run-length encoded masks, as Kaggle takes them, one row per image and foreground class."""

    file_name = "rle.csv"

    def begin(self) -> None:
        self.rows = csv.writer(self.file)
        self.classes = range(1, len(self.settings.class_names))
        self.rows.writerow(["ImageId", *self.class_column("ClassId"), "EncodedPixels"])

    def class_column(self, value: object) -> list[object]:
        """The cell that names the class; there is none with a single foreground class."""
        return [value] if len(self.classes) > 1 else []

    def write(self, prediction: MaskPrediction) -> None:
        for name, labels in zip(prediction.names(), prediction.labels, strict=True):
            for index in self.classes:
                area = in_region(labels, [index], self.settings.multi_label)
                self.rows.writerow([name, *self.class_column(index), rle.encode(area)])


class LabelWriter(TextFileWriter[LabelPrediction]):
    """Writes `labels.csv`: for each image the most likely class and the probability of each."""

    file_name = "labels.csv"

    def begin(self) -> None:
        self.rows = csv.writer(self.file)
        self.rows.writerow(["image", "label", *map(spreadsheet_cell, self.settings.class_names)])

    def write(self, prediction: LabelPrediction) -> None:
        probability = prediction.probability
        if len(probability) == 1:  # of the second of two names
            probability = np.array([1 - probability[0], probability[0]])
        label = self.settings.class_names[int(probability.argmax())]
        names = map(spreadsheet_cell, (prediction.source.path, label))
        self.rows.writerow([*names, *(f"{value:.6f}" for value in probability)])
