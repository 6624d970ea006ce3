"""Locks that the process holds: a second process is refused with a line, and a crash leaves none behind."""

import os
import subprocess
import sys

import pytest
from helpers import PROJECT, assert_one_clear_error
from warm_helpers import run_warm

from evaluate import evaluate
from utils.base import locks
from utils.base.errors import UserError
from utils.base.locks import lock, lock_path, locked, locked_output, release, releases_locks
from utils.checkpoints.paths import evaluation_folder
from utils.config import load_config

HOLD = "import sys; from pathlib import Path; from utils.base.locks import lock; lock(Path(sys.argv[1]), 'it'); "
WAIT = "print('locked', flush=True); sys.stdin.read()"


@pytest.fixture
def other(tmp_path):
    """A process that holds the lock of the file `a.lock`."""
    command = [sys.executable, "-c", HOLD + WAIT, str(tmp_path / "a.lock")]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_holds_the_lock(tmp_path, other):
    with pytest.raises(UserError, match=rf"Another process writes the weights: process {other.pid} on .+, since \d"):
        lock(tmp_path / "a.lock", "the weights")
    with locked(tmp_path / "b.lock", "others"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["a.lock"]


def test_a_crash_leaves_no_lock_behind(tmp_path, other):
    other.kill()
    other.wait()
    assert (tmp_path / "a.lock").exists()
    with locked(tmp_path / "a.lock", "it"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_process_locks_a_file_once(tmp_path):
    with locked(tmp_path / "a.lock", "it"):
        with pytest.raises(UserError, match=f"process {os.getpid()}"), locked(tmp_path / "a.lock", "it"):
            pass
        with pytest.raises(UserError):  # the attempt above did not release it
            lock(tmp_path / "a.lock", "it")
    with locked(tmp_path / "a.lock", "it"):
        pass


def test_a_lock_file_with_anything_in_it_locks_nothing(tmp_path):
    for text in ("", "{", "[1]", '{"host": "\\u001b[31m", "process": null}'):
        (tmp_path / "a.lock").write_text(text)
        with locked(tmp_path / "a.lock", "it"):
            pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "a.lock").symlink_to("victim")
    (tmp_path / "b.lock").mkdir()
    os.mkfifo(tmp_path / "c.lock")
    for name in ("a.lock", "b.lock", "c.lock"):
        with pytest.raises(UserError, match=f"{name}: .* Remove it"):
            lock(tmp_path / name, "it")
    assert (tmp_path / "victim").read_text() == "precious" and not locks.HELD


def test_a_task_releases_what_it_locked(tmp_path):
    @releases_locks
    def task():
        lock(tmp_path / "a.lock", "it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        task()
    assert not list(tmp_path.iterdir()) and not locks.HELD


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "lockf", no_locks)
    with locked(tmp_path / "a.lock", "it"):
        pass
    assert "has no locks" in capsys.readouterr().err


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    with pytest.raises(ValueError), locked_output([tmp_path / "new" / "data"]):
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_a_long_name_has_a_lock(tmp_path):
    file = lock_path(tmp_path / ("x" * 250))
    lock(file, "it")
    release(file)


def test_two_trainings_do_not_write_the_same_weights(tmp_path, phantom):
    settings = [f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "INPUT.HEIGHT=48", "INPUT.WIDTH=48"]
    for split in ("TRAIN", "VAL"):
        folder = phantom / "data" / split.lower()
        settings += [f"DATASET.{split}.IMAGES_PATH={folder / 'images'}", f"DATASET.{split}.MASK_PATH={folder / 'mask'}"]
    (tmp_path / "checkpoint").mkdir()
    with locked(tmp_path / "checkpoint/.model_unet.lock", "it"):
        result = run_warm("train.py", *settings, "loss=bce_dice", "VERBOSE=0")
    assert_one_clear_error(result, "Another process writes the weights", str(os.getpid()))
    assert not [file for file in (tmp_path / "checkpoint").rglob("*") if file.is_file()]


def test_two_evaluations_do_not_write_the_same_folder(tmp_path):
    cfg = load_config([f"WORK_DIR={tmp_path}", "EVALUATION.PATH=scores"])
    (tmp_path / "scores").mkdir()
    with (
        locked(lock_path(evaluation_folder(cfg)), "the evaluation"),
        pytest.raises(UserError, match="Another process writes the evaluation"),
    ):
        evaluate(cfg)
