"""What TensorBoard, MLflow and Weights & Biases are told, and the summary at the end of a run."""

import json
import re
import shlex
import sys
import types

import cv2
import numpy as np
import pytest
from helpers import assert_one_clear_error
from omegaconf import OmegaConf
from warm_helpers import run_warm

from data_preparation.verify_data import find_training_files
from utils.base.version import find_commit
from utils.checkpoints import log_path, restore_config
from utils.checkpoints.training_log import read_history, read_rows
from utils.config import load_config
from utils.devices.machine import describe_machine
from utils.training.compare_curves import read_log
from utils.training.saving import EpochLog
from utils.training.tensorboard import log_folder

SMALL = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,6]", "INPUT.HEIGHT=48", "INPUT.WIDTH=48", "HYPER_PARAMETERS.BATCH_SIZE=5"]
SMALL += ["HYPER_PARAMETERS.EPOCHS=2", "VERBOSE=0", "loss=bce_dice", "RESUME=never"]


def settings(phantom, folder):
    paths = [f"CALLBACKS.{name}.PATH={folder}" for name in ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")]
    return [f"WORK_DIR={phantom}", *SMALL, *paths]


@pytest.fixture
def stubs(monkeypatch):
    """Packages of the two names that note what they are told."""
    import keras

    told = []

    class Told(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            told.append((epoch, sorted(logs)))

    mlflow, wandb = types.ModuleType("mlflow"), types.ModuleType("wandb")
    mlflow.start_run = lambda run_name: told.append(("mlflow", run_name))
    wandb.init = lambda name, config: told.append(("wandb", name, config["MODEL"]["TYPE"]))
    parts = {"mlflow.keras": ("MlflowCallback",), "wandb.integration": (), "wandb.integration.keras": ()}
    modules = {"mlflow": mlflow, "wandb": wandb, **{name: types.ModuleType(name) for name in parts}}
    modules["mlflow.keras"].MlflowCallback = modules["wandb.integration.keras"].WandbMetricsLogger = Told
    for name, module in modules.items():
        module.__spec__ = types.SimpleNamespace(name=name)
        monkeypatch.setitem(sys.modules, name, module)
    return told


def test_everyone_is_told_of_each_epoch(tmp_path, phantom, stubs):
    from train import train

    train(load_config([*settings(phantom, tmp_path), "CALLBACKS.MLFLOW=True", "CALLBACKS.WANDB=True"]))
    assert ("mlflow", "model_unet") in stubs and ("wandb", "model_unet", "unet") in stubs
    epochs = [entry for entry in stubs if isinstance(entry[0], int)]
    assert [epoch for epoch, _ in epochs] == [0, 0, 1, 1]
    assert all({"loss", "val_loss", "learning_rate"} <= set(names) for _, names in epochs)

    summary = json.loads((tmp_path / "model_unet.run.json").read_text())
    assert summary["model"] == "unet" and 0 <= summary["best"]["value"] <= 1
    assert summary["since_last_start"]["epochs"] == 2 and summary["since_last_start"]["seconds"] > 0
    assert summary["precision"] == "float32" and summary["images"] == {"train": 20, "val": 10}
    assert (summary["devices"], summary["strategy"]) == (1, "single")
    assert 0 <= summary["share_of_time_waiting_for_data"] <= 1
    assert summary["commit"] == find_commit() and summary["machine"] == describe_machine()
    again = find_training_files(load_config(shlex.split(summary["command"])[2:]))[0]
    assert {**OmegaConf.load(tmp_path / "model_unet.yaml"), "RUN": None} == dict(again)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = tmp_path.rglob("events.out.tfevents.*")  # one run in TensorBoard
    assert events.parent.parent == tmp_path
    assert re.fullmatch(rf"model_unet \d{{4}}-\d\d-\d\d \d\d-\d\d-\d\d {summary['run']}", events.parent.name)
    found = EventAccumulator(str(events.parent), size_guidance={"tensors": 0})
    found.Reload()
    scores = {"loss/train", "loss/val", "dice_coef/train", "dice/val", "dice/val_class1", "images/validation"}
    rates = {"learning_rate", "gradient_norm", "images_per_second", "share_of_time_waiting_for_data"}
    assert {*scores, *(f"training/{name}" for name in rates)} <= set(found.Tags()["tensors"])
    assert all([event.step for event in found.Tensors(tag)] == [1, 2] for tag in found.Tags()["tensors"])
    picture = found.Tensors("images/validation")[0].tensor_proto.string_val[2]
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape[1] > 3 * 192
    assert (
        log_folder(tmp_path, "model_unet", summary["run"]) == events.parent != log_folder(tmp_path, "model_unet", "b")
    )

    # Its rows carry its id. Another run renames its log and curves, and the report finds those of the weights.
    log = tmp_path / "training_logs_unet.csv"
    assert [row["run"] for row in read_rows(log)] == [summary["run"]] * 2
    curves = tmp_path / "training_curves_unet.png"
    other = EpochLog(log, curves, append=False, run="b")
    other.on_train_begin()
    other.on_epoch_end(0, {"loss": 7.0})
    assert [row["loss"] for row in read_rows(log)] == ["7.0"]
    assert curves.exists() and (tmp_path / "training_curves_unet.previous.png").exists()
    trained = restore_config(load_config(settings(phantom, tmp_path)))
    history = read_history(trained)
    assert history["epoch"] == [0, 1] and history["val_loss"][1] == summary["last"]["val_loss"]
    trained.MODEL.WEIGHTS_FILE_NAME = "model_unet.previous"
    assert log_path(trained).name == "training_logs_unet.previous.csv" and read_history(trained) == history
    trained.RUN = "c"
    assert read_history(trained) is None


def test_rows_of_other_runs_stay_with_append_logs(tmp_path):
    log, curves = tmp_path / "log.csv", tmp_path / "curves.png"
    for run, epochs in (("a", (0, 1)), ("b", (0,)), ("b", (1,))):  # the last one resumes
        written = EpochLog(log, curves, append=True, run=run)
        written.restore({"rows": [{"epoch": 0, "loss": 2.0}] if epochs == (1,) and run == "b" else []})
        written.on_train_begin()
        for epoch in epochs:
            written.on_epoch_end(epoch, {"loss": 2.0 - epoch})
    assert [(row["run"], row["epoch"]) for row in read_rows(log)] == [("a", "0"), ("a", "1"), ("b", "0"), ("b", "1")]
    assert read_log(log) == {"epoch": [0, 1], "loss": [2, 1]} and not list(tmp_path.glob("*previous*"))


@pytest.mark.parametrize("key, package", [("MLFLOW", "mlflow"), ("WANDB", "wandb")])
def test_a_tracker_that_is_not_installed_is_named(key, package, tmp_path, phantom):
    import importlib.util

    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    result = run_warm("train.py", *settings(phantom, tmp_path), f"CALLBACKS.{key}=True")
    assert_one_clear_error(result, f"CALLBACKS.{key}=True", f"pip install {package}")
