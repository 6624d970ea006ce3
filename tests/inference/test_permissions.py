"""Folders that may not be entered or written: one line, exit code 2."""

import shutil

import pytest
from helpers import TINY, assert_one_clear_error, make_weights, run_unprivileged

from utils.config import load_config


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_weights(folder, [*TINY, "VERBOSE=0"])
    return folder


@pytest.mark.parametrize("closed, mode", [("checkpoint", 0o555), ("checkpoint/model_tiny_unet3plus.evaluation", 0o555)])
def test_an_evaluation_that_may_not_be_written(closed, mode, tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "run")
    folder = tmp_path / "run" / closed
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    try:
        result = run_unprivileged("evaluate.py", f"WORK_DIR={tmp_path / 'run'}", TINY[0])
        elsewhere = run_unprivileged(
            "evaluate.py", f"WORK_DIR={tmp_path / 'run'}", TINY[0], f"EVALUATION.PATH={tmp_path / 'scores'}"
        )
    finally:
        folder.chmod(0o755)
    assert_one_clear_error(result, "EVALUATION.PATH: cannot write to the folder", "permission denied at", str(folder))
    assert len(result.stderr.splitlines()) == 1
    assert_one_clear_error(elsewhere, "DATASET.VAL")  # the folder is no reason to stop any more
    assert "EVALUATION.PATH" not in elsewhere.stderr


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "predict.py", "export.py"])
def test_a_parent_folder_that_may_not_be_entered(script, tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "closed" / "run")
    (tmp_path / "closed").chmod(0)
    try:
        result = run_unprivileged(script, f"WORK_DIR={tmp_path / 'closed' / 'run'}", TINY[0])
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert_one_clear_error(result, str(tmp_path / "closed"), "Permission denied")
    assert len([line for line in result.stderr.splitlines() if line.strip()]) == 1, result.stderr


def test_the_evaluation_goes_where_it_is_told(tmp_path):
    from utils.checkpoints.paths import evaluation_folder

    cfg = load_config([f"WORK_DIR={tmp_path}", "EVALUATION.PATH=scores"])
    assert evaluation_folder(cfg) == tmp_path / "scores/model_unet3plus.evaluation"
    beside = evaluation_folder(load_config([f"WORK_DIR={tmp_path}"]))
    assert beside == tmp_path / "checkpoint/model_unet3plus.evaluation"
