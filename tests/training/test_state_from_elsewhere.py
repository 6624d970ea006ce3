"""A state file from elsewhere sets what its owner declares, with its type, and nothing else: never a path."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from losses.monitor import Monitor
from utils.base.errors import UserError
from utils.config import load_config
from utils.training.callbacks import EarlyStopping, LearningRate
from utils.training.resume import find_state
from utils.training.saving import BestWeights, EpochLog
from utils.training.state import METADATA, StatefulCallback, read_state, write_state

GOOD = {
    "epoch": 1,
    "step": 0,
    "finished": False,
    "config": {"RUN": "0123456789abcdef", "HYPER_PARAMETERS": {"EPOCHS": 3}},
    "callbacks": {"EpochLog": {"rows": [{"epoch": 0, "loss": 0.5}]}},
}


def callbacks(folder):
    cfg, monitor = load_config(), Monitor("dice", higher_is_better=True)
    return {
        "EpochLog": EpochLog(folder / "log.csv", folder / "curves.png", append=False, run="a"),
        "BestWeights": BestWeights(None, cfg, folder / "m.weights.h5", monitor),
        "LearningRate": LearningRate(cfg, monitor),
        "EarlyStopping": EarlyStopping(monitor, 3, verbose=False),
    }


def subclasses(kind):
    return {kind} | {other for one in kind.__subclasses__() for other in subclasses(one)}


def test_no_callback_restores_anything_but_numbers():
    owners = subclasses(StatefulCallback) - {StatefulCallback}
    assert owners
    for owner in owners:
        assert "path" not in repr(owner.remembered).lower(), owner
        assert not {"str", "Path", "Any", "object"} & {
            getattr(kind, "__name__", "") for kind in owner.remembered.values()
        }


@pytest.mark.parametrize("name", ["path", "curves", "earlier", "network", "cfg", "__class__", "restore"])
def test_an_attribute_that_is_not_declared_stays(name, tmp_path):
    for callback in callbacks(tmp_path).values():
        before = getattr(callback, name, None)
        callback.resume({**callback.state(), name: "/home/you/.bashrc"})
        assert getattr(callback, name, None) == before


@pytest.mark.parametrize(
    "owner, state",
    [
        ("EpochLog", {"rows": [{"$(touch x)": 0}]}),
        ("EpochLog", {"rows": [{"=cmd()": 0}]}),
        ("EpochLog", {"rows": [{"loss": "text"}]}),
        ("EpochLog", {"rows": {"loss": 1}}),
        ("BestWeights", {"best": "high"}),
        ("BestWeights", {"best_epoch": -1}),
        ("BestWeights", {"best_epoch": 1.5}),
        ("BestWeights", {"best_logs": {"loss": None}}),
        ("LearningRate", {"factor": None}),
        ("LearningRate", {"waited": True}),
        ("LearningRate", {"rank": [1.0]}),
        ("EarlyStopping", {"waited": "0"}),
    ],
)
def test_a_value_of_another_type_is_refused(owner, state, tmp_path):
    with pytest.raises(UserError, match=f"{next(iter(state))} of {owner} is not what training saves"):
        callbacks(tmp_path)[owner].resume(state)


def test_what_is_saved_is_restored(tmp_path):
    for key, callback in callbacks(tmp_path).items():
        state = json.loads(json.dumps(callback.state()))
        fresh = callbacks(tmp_path)[key]
        fresh.resume(state)
        assert fresh.state() == callback.state()
    log = callbacks(tmp_path)["EpochLog"]
    log.resume({"rows": [{"epoch": 0, "loss": math.nan, "val_dice_class1": 0.5}]})
    assert str(log.rows) == "[{'epoch': 0, 'loss': nan, 'val_dice_class1': 0.5}]"  # an epoch stays an integer


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": "1"},
        {"epoch": -1},
        {"step": 1.5},
        {"finished": "no"},
        {"callbacks": []},
        {"callbacks": {"EpochLog": [1]}},
        {"config": []},
        {"config": {"RUN": None}},
        {"config": {"RUN": "../../x", "HYPER_PARAMETERS": {"EPOCHS": 3}}},
        {"config": {"RUN": "ab\nRUN: cd", "HYPER_PARAMETERS": {"EPOCHS": 3}}},
        {"devices": "two"},
        {"data": [1]},
    ],
)
def test_metadata_of_another_form_is_not_read(change, tmp_path, capsys):
    path = tmp_path / "m.state.npz"
    write_state(path, GOOD | change, [np.zeros(2)], 0)
    assert read_state(path) is None
    assert "was skipped" in capsys.readouterr().err


def test_bombs_are_not_read(tmp_path):
    path = tmp_path / "m.state.npz"
    write_state(path, GOOD, [np.zeros(2)], 0)
    assert read_state(path) is not None
    about = np.frombuffer(json.dumps(GOOD).encode(), np.uint8)
    np.savez_compressed(path, **{METADATA: about}, v0=np.zeros(10**6))
    assert read_state(path) is None
    np.savez(path, **{METADATA: np.frombuffer(b"[" * 10**6, np.uint8)}, v0=np.zeros(2))
    assert read_state(path) is None


def test_a_state_named_by_hand_must_be_one(tmp_path):
    Path(tmp_path, "m.state.npz").write_bytes(b"not a state")
    with pytest.raises(UserError, match="is not a state that training saved"):
        find_state(load_config([f"WORK_DIR={tmp_path}", "RESUME=m.state.npz"]), tmp_path / "other.weights.h5")
