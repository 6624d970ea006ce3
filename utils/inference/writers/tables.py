"""Tables in CSV: areas of each class, run-length encoded masks, labels of a classifier.

Names that a spreadsheet would run as formulas get an apostrophe, but for `rle.csv`, which programs read.
"""

import csv

import numpy as np

from utils.base import rle
from utils.base.class_bits import count_classes, in_region
from utils.base.text_files import spreadsheet_cell
from utils.inference.writers import LabelPrediction, MaskPrediction
from utils.inference.writers.text_file import TextFileWriter


class AreaWriter(TextFileWriter[MaskPrediction]):
    """Writes `predictions.csv`: for each image its size, the pixels of each class and the mean confidence."""

    file_name = "predictions.csv"

    def begin(self) -> None:
        self.rows = csv.writer(self.file)
        areas = [f"area_{name}" for name in self.settings.class_names]
        self.rows.writerow(["file", "index", "height", "width", *areas, "confidence"])

    def write(self, prediction: MaskPrediction) -> None:
        source, classes = prediction.source, len(self.settings.class_names)
        for index, (labels, confidence) in enumerate(zip(prediction.labels, prediction.confidences, strict=True)):
            areas = count_classes(np.bincount(labels.ravel()), classes, self.settings.multi_label).tolist()
            position = index if source.is_series else ""
            self.rows.writerow([spreadsheet_cell(source.path), position, *labels.shape, *areas, f"{confidence:.4f}"])


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
