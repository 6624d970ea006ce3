"""Tables of predictions that people open in a spreadsheet."""

import csv
from argparse import Namespace
from pathlib import Path

import numpy as np

from utils.inference.writers import LabelPrediction
from utils.inference.writers.tables import LabelWriter


def test_names_are_no_formulas(tmp_path):
    settings = Namespace(class_names=["=1+1", "dog"])
    with LabelWriter(tmp_path, settings) as writer:
        writer.write(LabelPrediction(Namespace(path=Path("@x.png")), np.array([0.9, 0.1])))
    with open(tmp_path / "labels.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["image", "label", "'=1+1", "dog"],
            ["'@x.png", "'=1+1", "0.900000", "0.100000"],
        ]
