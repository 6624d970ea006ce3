"""Folders that cannot be written to, and disks that fill up: said at the start, or a warning and the run goes on.

A small tmpfs is the disk where the tests may mount one (as root); elsewhere a limit on the size of files (RLIMIT_FSIZE)
stands for the full disk.
"""

import contextlib
import os
import resource
import subprocess
import sys

import pytest
import warm_helpers
from helpers import PROJECT, assert_one_clear_error, run_command
from warm_helpers import run_warm

from evaluate import evaluate
from train import train
from utils.config import load_config

SMALL = [
    "MODEL.TYPE=unet",
    "MODEL.FILTERS=[2,2]",
    "INPUT.HEIGHT=48",
    "INPUT.WIDTH=48",
    "HYPER_PARAMETERS.EPOCHS=3",
    "HYPER_PARAMETERS.BATCH_SIZE=5",
    "loss=bce_dice",
    "VERBOSE=2",
]


def command(phantom, disk):
    paths = [f"CALLBACKS.{name}.PATH={disk}" for name in ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")]
    return ["train.py", f"WORK_DIR={phantom}", *SMALL, *paths]


@contextlib.contextmanager
def small_disk(folder, *options):
    """A tmpfs; skipped where none may be mounted."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", *options, "none", folder], capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_too_little_space_is_said_before_the_first_step(tmp_path, phantom):
    with small_disk(tmp_path / "disk", "-o", "size=600k") as disk:
        result = run_warm(*command(phantom, disk))
        assert_one_clear_error(result, "CALLBACKS.MODEL_CHECKPOINT.PATH", "MB free", "KEEP")
        assert not list(disk.iterdir())


def test_a_read_only_disk_is_said_before_anything_else(tmp_path, phantom):
    with small_disk(tmp_path / "disk", "-o", "ro"):
        result = run_command(*command(phantom, tmp_path / "disk"))
        assert_one_clear_error(result, "CALLBACKS.MODEL_CHECKPOINT.PATH", "cannot write")


def test_a_file_in_place_of_a_folder(tmp_path, phantom):
    (tmp_path / "disk").write_text("a file")
    assert_one_clear_error(run_command(*command(phantom, tmp_path / "disk")), "MODEL_CHECKPOINT", "cannot write")


def test_a_disk_that_fills_up_during_training_costs_files_not_the_run(tmp_path, phantom, capsys):
    """The first epoch is saved; then the disk is full; when there is room the same command goes on."""
    with small_disk(tmp_path / "disk", "-o", "size=3m") as disk:
        process = warm_helpers.start(*command(phantom, disk), merge=True)
        output = ""
        for line in process.stdout:
            output += line
            if "Epoch 1/" in line:
                fill(disk)
        process.wait(timeout=120)
        assert process.returncode == 0 and "Traceback" not in output, output
        assert "Warning: the state could not be saved (No space left on device)" in output
        assert "Epoch 3/3" in output
        assert not list(disk.glob(".*"))  # no halves
        (disk / "ballast").unlink()
        saved = [f"WORK_DIR={phantom}", "MODEL.TYPE=unet", "VERBOSE=0", f"CALLBACKS.MODEL_CHECKPOINT.PATH={disk}"]
        evaluate(load_config(saved))
        train(load_config(command(phantom, disk)[1:]))
        assert "Epoch 3/3" in capsys.readouterr().out


def fill(disk):
    with contextlib.suppress(OSError), open(disk / "ballast", "wb") as file:
        while True:
            file.write(b"0" * 4096)
            file.flush()


@pytest.mark.slow
def test_files_that_may_not_grow(tmp_path, phantom):
    """Nothing larger than 20 kB can be written: the state and the weights are warned of, the run ends clearly."""

    def limit():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = subprocess.run(
        [sys.executable, *command(phantom, tmp_path / "disk"), "MODEL.FILTERS=[16,32]"],
        cwd=PROJECT,
        env={**os.environ},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
    assert "the state could not be saved (File too large)" in result.stderr
    assert "No weights could be written" in result.stderr
    assert not [path for path in (tmp_path / "disk").iterdir() if path.name.startswith(".")]


def test_a_failed_write_keeps_what_was_there(tmp_path):
    from utils.base.backups import backup_path
    from utils.base.files import atomic_write, warn_if_not_saved

    path = tmp_path / "m.weights.h5"
    for text in ("1", "2", "3", "4"):
        with atomic_write(path, backups=2) as temporary:
            temporary.write_text(text)
    with warn_if_not_saved("the file") as errors, atomic_write(path, backups=2) as temporary:
        temporary.write_text("5")
        raise OSError(28, "No space left on device")
    versions = [path, backup_path(path, 1), backup_path(path, 2)]
    assert errors and [file.read_text() for file in versions] == ["4", "3", "2"]
    assert len(list(tmp_path.iterdir())) == 3
    with atomic_write(path, backups=0) as temporary:  # KEEP was lowered
        temporary.write_text("6")
    assert path.read_text() == "6"
