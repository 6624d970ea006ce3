"""The figures of docs/explanation/scaling.md follow from their formulas."""

import importlib.util

import pytest
from helpers import PROJECT


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", PROJECT / "benchmarks/scaling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bytes_of_a_ring(scaling):
    assert scaling.all_reduce_bytes(100, 1) == 0
    assert scaling.all_reduce_bytes(100, 2) == 400  # each sends half twice
    assert scaling.all_reduce_bytes(100, 4) == 600


def test_the_step_grows_with_pixels_and_images(scaling):
    assert scaling.step_seconds(5.0, 320, 2, 640, 4) == 40.0


def test_the_table_of_the_docs(scaling, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["scaling.py", "--replicas", "1", "8", "32"])
    scaling.main()
    assert capsys.readouterr().out in (PROJECT / "docs/explanation/scaling.md").read_text()
