"""What may happen to a training from outside: signals, a closed pipe, files that are removed or may not be read."""

import shutil
import signal

import pytest
import warm_helpers
from helpers import TINY

from train import train
from utils.base.errors import UserError
from utils.checkpoints import restore_config
from utils.config import load_config
from utils.training.checkpoint import StopOnSignal
from utils.training.saving import BestWeights
from utils.training.state import read_state

SETTINGS = ["MODEL.TYPE=unet", "MODEL.FILTERS=[2,2]", *TINY[2:], "loss=cce", "HYPER_PARAMETERS.BATCH_SIZE=4"]


def start(folder, phantom, *overrides):
    paths = [f"CALLBACKS.{name}.PATH={folder}" for name in ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")]
    return warm_helpers.start("train.py", f"WORK_DIR={phantom}", *SETTINGS, *paths, *overrides)


@pytest.mark.parametrize("number", [signal.SIGHUP, pytest.param(signal.SIGQUIT, marks=pytest.mark.slow)])
def test_a_closed_terminal_saves(number, tmp_path, phantom):
    process = start(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=500", "VERBOSE=2")
    while "Epoch 1/" not in (line := process.stdout.readline()):
        assert line
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "the state is saved in" in errors


def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        StopOnSignal(1).on_train_begin()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def test_a_closed_pipe_does_not_end_a_training(tmp_path, phantom):
    process = start(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=3", "VERBOSE=2")
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(120) == 0, errors
    assert "Traceback" not in errors and "BrokenPipe" not in errors
    assert len((tmp_path / "training_logs_unet.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("when", [1, 2])
def test_a_folder_that_is_removed_while_training_runs(when, tmp_path, phantom, monkeypatch):
    folder = tmp_path / "checkpoint"
    paths = [f"CALLBACKS.{name}.PATH={folder}" for name in ("MODEL_CHECKPOINT", "CSV_LOGGER")]
    paths += [f"CALLBACKS.TENSORBOARD.PATH={tmp_path / 'tb'}", "CALLBACKS.MODEL_CHECKPOINT.MONITOR=loss"]
    on_epoch_end = BestWeights.on_epoch_end

    def remove(self, epoch, logs):
        logs["val_loss"] = [2.0, 1.0, 3.0][epoch]  # the best epoch is the second
        if epoch == when:
            shutil.rmtree(folder)
        on_epoch_end(self, epoch, logs)

    monkeypatch.setattr(BestWeights, "on_epoch_end", remove)
    cfg = load_config([f"WORK_DIR={phantom}", *SETTINGS, *paths, "HYPER_PARAMETERS.EPOCHS=3", "VERBOSE=0"])
    if when == 2:  # the best weights are gone, and no epoch after it is better
        with pytest.raises(UserError, match="no longer there"):
            train(cfg)
        return
    train(cfg)
    assert (folder / "model_unet.weights.h5").exists()
    assert (folder / "model_unet.yaml").exists()


def forbid(*_, **__):
    raise PermissionError(13, "Permission denied")


def test_what_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    state = tmp_path / "m.state.npz"
    state.touch()
    cfg = load_config([f"CALLBACKS.MODEL_CHECKPOINT.PATH={tmp_path}", "MODEL.WEIGHTS_FILE_NAME=m"])
    monkeypatch.setattr("zipfile.ZipFile", forbid)
    with pytest.raises(UserError, match="may not be read: Permission denied") as error:
        read_state(state)
    assert "corrupt" not in str(error.value) and "damaged" not in str(error.value)
    (tmp_path / "m.yaml").touch()
    (tmp_path / "m.weights.h5").touch()
    monkeypatch.setattr("utils.checkpoints.saved_config.read_text", forbid)
    with pytest.raises(UserError, match="may not be read") as error:
        restore_config(cfg)
    assert "damaged" not in str(error.value)
