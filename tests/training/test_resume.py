"""A run that is killed, however often, ends as one that is not: same weights, same log, bit for bit."""

import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import PROJECT, run_command
from interruption_helpers import finish, kill_until_done, outcome, start, train_here, train_there
from omegaconf import OmegaConf

from utils.base.backups import list_backups
from utils.base.errors import UserError
from utils.config import load_config
from utils.training.resume import list_differences, typed_first


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, phantom):
    folder = tmp_path_factory.mktemp("undisturbed")
    train_here(folder, phantom, "HYPER_PARAMETERS.EPOCHS=6")
    return outcome(folder)


@pytest.mark.parametrize("loader, kills", [("TF_DATA", 1), pytest.param("TF_GENERATOR", 1, marks=pytest.mark.slow)])
def test_a_killed_run_ends_bit_identical(loader, kills, tmp_path, phantom, undisturbed):
    options = ["HYPER_PARAMETERS.EPOCHS=6", f"DATA_GENERATOR_TYPE={loader}"]
    hits = kill_until_done(tmp_path, phantom, kills, loader, *options)
    assert hits > 0
    assert outcome(tmp_path) == undisturbed


@pytest.mark.slow
def test_thirty_kills_in_a_row(tmp_path, phantom):
    options = ["HYPER_PARAMETERS.EPOCHS=40"]
    train_there(tmp_path / "whole", phantom, *options)
    hits = kill_until_done(tmp_path / "killed", phantom, 30, 0, *options)
    same = outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
    print(f"killed {hits} of 30 times while running; bit-identical: {same}")
    assert hits >= 20 and same


@pytest.mark.slow
def test_a_killed_run_of_two_replicas(tmp_path, phantom):
    options = ["HYPER_PARAMETERS.EPOCHS=6", "STRATEGY.NAME=mirrored", "STRATEGY.LOGICAL_CPUS=2"]
    train_there(tmp_path / "whole", phantom, *options)
    hits = kill_until_done(tmp_path / "killed", phantom, 3, 0, *options, last=train_there)
    print(f"killed {hits} of 3 times while running")
    assert hits > 0 and outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def read_until(text, process):
    while text not in (line := process.stdout.readline()):
        assert line, "the run ended"


def test_told_to_stop_it_finishes_the_step_and_says_how_to_go_on(tmp_path, phantom, undisturbed, capsys):
    for number, epoch in ((signal.SIGTERM, 1), (signal.SIGINT, 3)):
        process = start(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=6")
        read_until(f"Epoch {epoch}/", process)
        process.send_signal(number)
        code, output = finish(process)
        assert code == 128 + number, output
        assert "Traceback" not in output and "to continue" in output
    capsys.readouterr()
    train_here(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=6")
    assert re.search(r"resuming after epoch [2-5](, step \d+ of 10 of the next)?\n", capsys.readouterr().out)
    assert outcome(tmp_path) == undisturbed


def test_the_line_of_where_a_run_goes_on(capsys):
    from utils.training.console import print_resumed

    for place, verbose in (((7, 3), 1), ((7, 0), 2), ((7, 3), 0)):
        print_resumed(SimpleNamespace(VERBOSE=verbose), place, 20)
    expected = ["resuming after epoch 7, step 3 of 20 of the next", "resuming after epoch 7"]
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("change, words", [("delete", "20 images then, 19 now"), ("rename", "20 images as before")])
def test_other_training_data_is_refused(change, words, tmp_path, phantom):
    data = tmp_path / "first"
    shutil.copytree(phantom / "data", data / "data")
    train_here(tmp_path, data, "HYPER_PARAMETERS.EPOCHS=1", "VERBOSE=0")
    images = sorted((data / "data/train/images").iterdir())
    for image in (images[4], data / "data/train/mask" / images[4].name.replace("image", "mask")):
        image.unlink() if change == "delete" else image.rename(image.with_name(image.name.replace("_", "_9", 1)))
    with pytest.raises(UserError, match=rf"training data has changed.*{words}.*RESUME=never"):
        train_here(tmp_path, data, "HYPER_PARAMETERS.EPOCHS=2", "VERBOSE=0")


def test_names_count_and_folders_do_not():
    from utils.training.resume import describe_data

    def data(*names):
        return describe_data([SimpleNamespace(image=Path(name)) for name in names])

    assert data("a/1.png", "a/2.png") == data("b/1.png", "b/2.png")
    assert data("1.png", "2.png") != data("2.png", "1.png")


def test_a_state_without_a_note_of_its_data_goes_on():
    from utils.training.resume import restore_state

    trainer = SimpleNamespace(
        distribute_strategy=SimpleNamespace(num_replicas_in_sync=1),
        network=SimpleNamespace(variables=[]),
        optimizer=SimpleNamespace(variables=[]),
        metrics=[],
    )
    assert restore_state(({"epoch": 3, "step": 0, "callbacks": {}}, []), trainer, [], SimpleNamespace(samples=[])) == (
        3,
        0,
    )


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_state_that_is_not_finite_is_not_saved(value, tmp_path, capsys):
    import keras

    from utils.training.checkpoint import Checkpoint
    from utils.training.state import read_state

    weight, count = keras.Variable([1.0, 2.0], name="kernel"), keras.Variable(3, dtype="int32", name="count")
    trainer = SimpleNamespace(
        distribute_strategy=SimpleNamespace(num_replicas_in_sync=1, extended=None),
        network=SimpleNamespace(variables=[weight]),
        optimizer=SimpleNamespace(variables=[count]),
        metrics=[],
    )
    checkpoint = Checkpoint(load_config(), trainer, tmp_path / "m.weights.h5", [], SimpleNamespace(samples=[]))
    checkpoint.save(1, 0)
    assert not capsys.readouterr().err
    weight.assign([1.0, float(value)])
    checkpoint.save(2, 0)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "kernel is not finite" in line
    about, (kept, _) = read_state(tmp_path / "m.state.npz")
    assert about["epoch"] == 1 and kept.tolist() == [1.0, 2.0]


def test_older_versions_are_sorted_by_number(tmp_path):
    for number in (10, 2, 1):
        (tmp_path / f"m.older{number}.state.npz").touch()
    for other in ("m.state.npz", "m.olderx.state.npz", "m2.older1.state.npz", "m.older3.weights.h5"):
        (tmp_path / other).touch()
    found = [path.name for path in list_backups(tmp_path / "m.state.npz")]
    assert found == [f"m.older{number}.state.npz" for number in (1, 2, 10)]


def test_other_settings_are_refused_by_name_and_never_starts_anew(tmp_path, phantom, capsys):
    process = start(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=50")
    read_until("Epoch 1/", process)
    process.kill()
    process.communicate()
    with pytest.raises(UserError) as error:
        train_here(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=2", "OPTIMIZER.CLIP_NORM=1.0")
    for words in ("OPTIMIZER.CLIP_NORM=None (now 1.0)", "RESUME=never"):
        assert words in str(error.value)
    assert "EPOCHS" not in str(error.value)
    train_here(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=1", "OPTIMIZER.CLIP_NORM=1.0", "RESUME=never")
    assert "Epoch 1/1" in capsys.readouterr().out


def test_a_group_typed_now_is_named_as_it_was_typed_and_first():
    changes = ["LOSS.bce=1 (now 0)", "LOSS.focal=0 (now 1)", "SEED=1 (now 2)"]
    typed = ["loss=bce: LOSS.bce=1 (now 0)", "LOSS.focal=0 (now 1)", "SEED=1 (now 2)"]
    assert typed_first(changes[::-1], ["SEED=2"])[0] == "SEED=1 (now 2)"
    assert typed_first(changes, ["loss=bce", "SEED=2"]) == typed


def test_keys_typed_now_are_named_first():
    changes = ["DATASET.FOLD=0 (now 1)", "DATASET.FOLDS=a (now b)", "INPUT.WIDTH=8 (now 4)", "MODEL.L2=0 (now 1)"]
    # DATASET.FOLD shares its beginning with another key, MODEL is a group.
    assert typed_first(changes, ["DATASET.FOLD=1", "+MODEL.L2=1", "INPUT.WID=3"]) == [
        "DATASET.FOLD=0 (now 1)",
        "MODEL.L2=0 (now 1)",
        "DATASET.FOLDS=a (now b)",
        "INPUT.WIDTH=8 (now 4)",
    ]


def test_what_training_does_not_read_may_change():
    now = OmegaConf.to_container(load_config(), resolve=True)
    other = load_config(
        [
            "DATASET.REPORT_PATH=/other/report.json",
            "DATASET.TEST.IMAGES_PATH=/other/images",
            "DATASET.TEST.MASK_PATH=null",
            "DATA_PREPARATION.SCANS_TRAIN_DATA_PATH=/scans",
            "DATA_PREPARATION.SCAN_MIN_VALUE=-100",
            "DATA_PREPARATION.WORKERS=3",
        ]
    )
    other = OmegaConf.to_container(other, resolve=True)
    assert list_differences(now, other) == []
    del now["DATA_PREPARATION"]["PREPARED_BY"]  # a state of an earlier version
    other["DATA_PREPARATION"]["PREPARED_BY"] = "volumes"
    assert list_differences(now, other) == []
    known = {**other, "DATA_PREPARATION": {**other["DATA_PREPARATION"], "SCAN_MIN_VALUE": -200}}
    assert list_differences(other, known) == ["DATA_PREPARATION.SCAN_MIN_VALUE=-100 (now -200)"]


def test_a_damaged_state_falls_back_to_the_one_before(tmp_path, phantom, undisturbed, capfd):
    process = start(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=6")
    read_until("Epoch 3/", process)
    process.kill()
    process.communicate()
    state = Path(tmp_path / "checkpoint" / "model_unet.state.npz")
    state.write_bytes(state.read_bytes()[:-1000])
    train_here(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=6")
    assert "is corrupt and was skipped" in "".join(capfd.readouterr())
    assert outcome(tmp_path) == undisturbed


SWALLOWED = """
import gc, signal, time
from utils.config.command import command

def task(cfg):
    def interrupt(phase, info):
        gc.callbacks.remove(interrupt)  # once: not at the end of the process too
        print("collecting", flush=True)
        signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(interrupt)
    gc.collect()
    time.sleep(60)

command(task)()
"""


def test_an_interrupt_during_garbage_collection_is_not_lost():
    """JAX has code there, which runs often while TensorFlow is imported."""
    result = run_command("-c", SWALLOWED, PYTHONPATH=str(PROJECT))
    assert result.returncode == 130 and "collecting" in result.stdout
    assert "Interrupted." in result.stderr and "Traceback" not in result.stderr


def test_the_middle_of_an_epoch_needs_as_many_devices():
    from utils.training.resume import restore_state

    trainer = SimpleNamespace(distribute_strategy=SimpleNamespace(num_replicas_in_sync=1))
    with pytest.raises(UserError, match="on 4 devices, now there are 1"):
        restore_state(
            ({"epoch": 3, "step": 2, "devices": 4, "callbacks": {}}, []), trainer, [], SimpleNamespace(samples=[])
        )
