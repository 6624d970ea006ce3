"""A sweep: each job in folders of its own, and found again by the same sweep of evaluate.py."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import TINY
from omegaconf import OmegaConf
from warm_helpers import run_warm

from utils.base.keys import Role
from utils.config import load_config
from utils.config.schema import keys_with_role
from utils.config.sweeps import MAX_NAME, describe_job, give_own_folders

OUTPUTS = (
    "CALLBACKS.MODEL_CHECKPOINT.PATH",
    "CALLBACKS.CSV_LOGGER.PATH",
    "CALLBACKS.TENSORBOARD.PATH",
    "PREDICT.OUTPUT_PATH",
    "EVALUATION.PATH",
)


def test_all_outputs_have_the_role():
    assert sorted(keys_with_role(Role.OUTPUT)) == sorted(OUTPUTS)


def job_folders(monkeypatch, *overrides):
    hydra = OmegaConf.create({"overrides": {"task": list(overrides)}, "sweep": {"dir": "/nowhere"}})
    monkeypatch.setattr("utils.config.sweeps.HydraConfig.get", lambda: hydra)
    cfg = load_config(overrides)
    alone = load_config(give_own_folders(cfg))  # a single run with these overrides is the job
    assert all(OmegaConf.select(alone, key) == OmegaConf.select(cfg, key) for key in OUTPUTS)
    assert cfg.EVALUATION.PATH is None  # beside the weights, which have a folder of their own
    return [OmegaConf.select(cfg, key) for key in OUTPUTS[:-1]]


def test_folders_are_named_after_what_was_typed(monkeypatch):
    typed = ["WORK_DIR=/a", "+experiment=isbi_unet", "SEED=1", "VERBOSE=0", "EVALUATION.VOLUMES=False"]
    name = "experiment=isbi_unet,SEED=1"
    folders = [*[f"/checkpoint/{name}"] * 2, f"/checkpoint/tb_logs/{name}", f"/predictions/{name}"]
    assert job_folders(monkeypatch, *typed) == folders
    assert job_folders(monkeypatch, "VERBOSE=0")[1] == "/checkpoint"
    assert job_folders(monkeypatch, "DATASET.VAL.IMAGES_PATH=/a/b")[1] == "/checkpoint/DATASET.VAL.IMAGES_PATH=_a_b"
    assert job_folders(monkeypatch, "OPTIMIZATION.AMP=True")[1] == "/checkpoint/OPTIMIZATION.AMP=True"


def test_long_names_stay_apart(monkeypatch):
    common = "DATASET.TRAIN.IMAGES_PATH=" + "x" * 300
    names = {job_folders(monkeypatch, common, f"SEED={seed}")[1] for seed in (1, 2)}
    assert len(names) == 2 and all(len(name) < MAX_NAME + 30 for name in names)


def settings_of(folder, typed, task, number):
    """What Hydra says in a job of a sweep."""
    OmegaConf.save(OmegaConf.create({"hydra": {"overrides": {"task": typed}}}), folder / "multirun.yaml")
    return OmegaConf.create({"overrides": {"task": task}, "sweep": {"dir": str(folder)}, "job": {"num": number}})


@pytest.mark.parametrize(
    ("typed", "task", "header"),
    [
        (
            ["SEED=1,2", "loss=dice,bce,iou", "VERBOSE=1"],
            ["SEED=2", "loss=dice", "VERBOSE=1"],
            "job 4 of 6: SEED=2 loss=dice",
        ),
        (["DATASET.FOLD=0,1,2,3,4", "SEED=1"], ["DATASET.FOLD=3", "SEED=1"], "fold 4 of 5: DATASET.FOLD=3"),
        (["SEED=range(1,6)"], ["SEED=4"], "job 4 of 5: SEED=4"),
        (["MODEL.L2=interval(0,1)"], ["MODEL.L2=0.5"], "job 4: MODEL.L2=0.5"),
    ],
)
def test_each_job_has_a_header(tmp_path, typed, task, header):
    assert describe_job(settings_of(tmp_path, typed, task, 3)) == header


def assert_ends_with_table(text, score):
    """Both jobs, the best first."""
    lines = text.splitlines()
    start = max(index for index, line in enumerate(lines) if line.split()[:1] == [score])
    scores = {line.split()[0]: float(line.split()[1]) for line in lines[start + 2 : start + 4]}
    assert scores.keys() == {"SEED=1", "SEED=2"} and list(scores.values()) == sorted(scores.values(), reverse=True)


def test_two_jobs_keep_their_weights_apart(phantom, tmp_path):
    small = ["MODEL.TYPE=unet", "MODEL.FILTERS=[2,2]", *TINY[2:]]
    sweep = [f"WORK_DIR={phantom}", "-m", "loss=dice", "HYPER_PARAMETERS.EPOCHS=1", *small, "SEED=1,2"]
    sweep += [f"CALLBACKS.{name}.PATH={tmp_path}" for name in ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")]
    result = run_warm("train.py", *sweep)
    assert result.returncode == 0, result.stderr
    assert "job 1 of 2: SEED=1\n" in result.stdout and "job 2 of 2: SEED=2\n" in result.stdout
    assert_ends_with_table(result.stdout, "val_dice")
    line = result.stdout.splitlines()[-1]
    assert line.startswith(f"Next: python evaluate.py -m WORK_DIR={phantom} MODEL.TYPE=unet SEED=1,2")
    assert "EPOCHS" not in line  # beside the weights
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders == ["SEED=1", "SEED=2"]
    weights = [(tmp_path / folder / "model_unet.weights.h5").read_bytes() for folder in folders]
    assert weights[0] != weights[1]
    for folder, seed in zip(folders, (1, 2), strict=True):
        assert seed == OmegaConf.load(tmp_path / folder / "model_unet.yaml").SEED
        assert (tmp_path / folder / "training_logs_unet.csv").exists()
    result = run_warm("evaluate.py", *shlex.split(line)[3:], "EVALUATION.BOOTSTRAP=0")
    assert result.returncode == 0, result.stderr
    assert_ends_with_table(result.stdout, "dice")
    assert all((tmp_path / folder / "model_unet.evaluation/report.html").exists() for folder in folders)


def test_a_sweep_whose_folder_cannot_be_created_ends_in_one_line(tmp_path):
    (tmp_path / "sweeps").touch()  # fails for every user, as a read-only folder does for most
    command = [sys.executable, Path(__file__).parents[2] / "train.py", "-m", "SEED=1,2"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert "hydra.sweep.dir=FOLDER" in run.stderr.splitlines()[-1]
