"""The examples in the docstrings of the Python API that need a trained model, run on one."""

import doctest
import shutil

import cv2
import pytest
from helpers import TINY, make_weights

from data_generators import build_dataset
from data_preparation.verify_data import verify_data
from evaluate import evaluate
from export import export
from predict import predict
from train import train
from utils.inference.predictor import Predictor

EXAMPLES = {
    found.__name__: found for found in (train, build_dataset, evaluate, predict, export, Predictor, verify_data)
}


@pytest.fixture(scope="module")
def demo(phantom, tmp_path_factory):
    """A folder that holds what `make demo` leaves in `demo/`, smaller."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(phantom / "data", folder / "demo/data")
    for path in folder.glob("demo/data/*/*/*.png"):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), (96, 96), interpolation=0))
    make_weights(folder / "demo", [*TINY, "INPUT.HEIGHT=96", "INPUT.WIDTH=96"])
    return folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(name, demo, monkeypatch):
    monkeypatch.chdir(demo)
    (test,) = doctest.DocTestFinder(recurse=False).find(EXAMPLES[name], name)
    assert len(test.examples) >= 3
    for example in test.examples:
        example.options.pop(doctest.SKIP, None)  # which says that the collected doctests have no trained model
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report = []
    runner.run(test, out=report.append)
    assert not runner.summarize(verbose=False).failed, "".join(report)
