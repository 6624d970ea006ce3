"""The share of time spent waiting, with a clock that is wound by hand."""

import pytest

from utils.config import load_config
from utils.training.data_wait import Waiting


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def batches(clock, count, seconds, closed=None):
    try:
        for number in range(count):
            clock.now += seconds
            yield number
    finally:
        if closed is not None:
            closed.append(True)


def test_the_share_by_hand():
    clock = Clock()
    waiting = Waiting(clock)
    for _ in range(2):  # an iteration begins anew
        seen = []
        for number in waiting(batches(clock, 4, 1.0)):
            clock.now += 3.0
            seen.append(number)
        assert seen == [0, 1, 2, 3]
        assert (waiting.waited, waiting.worked) == (3.0, 12.0)
        assert waiting.share == pytest.approx(0.2)


def test_nothing_to_wait_for():
    waiting = Waiting(Clock())
    assert list(waiting([])) == [] and waiting.share == 0
    assert list(waiting([(1,), (2,)])) == [(1,), (2,)] and waiting.advice(load_config()) is None


def test_an_iteration_that_ends_early_closes_its_loader():
    closed, waiting = [], Waiting(Clock())
    for _ in waiting(batches(Clock(), 4, 1.0, closed)):
        break
    import gc

    gc.collect()
    assert closed == [True]


def test_advice_names_what_to_change():
    clock = Clock()
    waiting = Waiting(clock)
    for _ in waiting(batches(clock, 3, 1.0)):
        clock.now += 1.0
    line = waiting.advice(load_config(["augmentation=medical"]))
    assert line.startswith("40% of the time")
    for words in ("raise DATALOADER_WORKERS (now 3)", "DATASET.CACHE=memory", "ELASTIC"):
        assert words in line
    assert "TF_DATA" not in line and "SERVICE" not in line
    assert "ELASTIC" not in waiting.advice(load_config())
    line = waiting.advice(load_config(["DATA_GENERATOR_TYPE=TF_DATA", "DATASET.SERVICE=[one:5050,two:5050]"]))
    assert "data: add hosts to DATASET.SERVICE (now 2), keep" in line and "DATALOADER_WORKERS" not in line
