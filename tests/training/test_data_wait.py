"""The share of data wait, with a clock that is wound by hand."""

import pytest

from utils.config import load_config
from utils.training.data_wait import DataWait


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
    data_wait = DataWait(clock)
    for _ in range(2):  # an iteration begins anew
        seen = []
        for number in data_wait(batches(clock, 4, 1.0)):
            clock.now += 3.0
            seen.append(number)
        assert seen == [0, 1, 2, 3]
        assert (data_wait.waited, data_wait.worked) == (3.0, 12.0)
        assert data_wait.share == pytest.approx(0.2)


def test_nothing_to_wait_for():
    data_wait = DataWait(Clock())
    assert list(data_wait([])) == [] and data_wait.share == 0
    assert list(data_wait([(1,), (2,)])) == [(1,), (2,)] and data_wait.advice(load_config()) is None


def test_an_iteration_that_ends_early_closes_its_loader():
    closed, data_wait = [], DataWait(Clock())
    for _ in data_wait(batches(Clock(), 4, 1.0, closed)):
        break
    import gc

    gc.collect()
    assert closed == [True]


def test_advice_names_what_to_change():
    clock = Clock()
    data_wait = DataWait(clock)
    for _ in data_wait(batches(clock, 3, 1.0)):
        clock.now += 1.0
    line = data_wait.advice(load_config(["augmentation=medical"]))
    assert line.startswith("Data wait: 40% of the training time")
    for words in ("raise DATALOADER_WORKERS (now 3)", "DATASET.CACHE=memory", "ELASTIC"):
        assert words in line
    assert "TF_DATA" not in line and "SERVICE" not in line
    assert "ELASTIC" not in data_wait.advice(load_config())
    line = data_wait.advice(load_config(["DATA_GENERATOR_TYPE=TF_DATA", "DATASET.SERVICE=[one:5050,two:5050]"]))
    assert "reduce it, add hosts to DATASET.SERVICE (now 2), keep" in line and "DATALOADER_WORKERS" not in line
