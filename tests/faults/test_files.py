"""Damaged files and mistyped settings: one clear message each, never another exception; files that reach outside."""

import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import assert_one_clear_error, run_command

sys.path.insert(0, str(Path(__file__).resolve().parent))

from damage import FILES, count_outcomes, mutated, mutated_overrides, outcome_of, print_table, rows, truncated

from utils.base.errors import UserError
from utils.checkpoints import load_weights
from utils.config import load_config

# These say nothing of damage that leaves other text: names, a manifest that is made anew, scores that are optional.
FORGIVING = {"list of images", "manifest, JSON", "evaluation.json"}


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(name, tmp_path):
    path, read = FILES[name](tmp_path)
    whole = path.read_bytes()
    cut = count_outcomes(path, read, truncated(whole, 10, name))
    changed = count_outcomes(path, read, mutated(whole, 20, name))
    assert not [kind for kind in cut + changed if kind.startswith("lost")], cut + changed
    assert name in FORGIVING or cut["refused"] >= 5


def test_mistyped_settings():
    outcomes = Counter(outcome_of(lambda text=text: load_config([text])) for text in mutated_overrides(60))
    assert set(outcomes) == {"read", "refused"} and outcomes["refused"] > 30


@pytest.mark.slow
def test_the_whole_table(capsys):
    with capsys.disabled():
        print_table(found := list(rows(lengths=10, mutations=100, settings=200)))
    assert not [kind for _, outcomes in found for kind in outcomes if kind.startswith("lost")]


@pytest.mark.parametrize("name", ["PNG", "weights", "config of weights, YAML"])
def test_at_the_command_line(name, tmp_path):
    """A sample of them as a user meets them."""
    path, _ = FILES[name](tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    options = [f"WORK_DIR={tmp_path}", "CALLBACKS.MODEL_CHECKPOINT.PATH=.", "MODEL.WEIGHTS_FILE_NAME=m"]
    if name == "PNG":
        options = [f"WORK_DIR={tmp_path}", "DATASET.TRAIN.IMAGES_PATH=.", "DATASET.TRAIN.MASK_PATH=."]
    else:
        (tmp_path / "m.weights.h5").touch()
    result = run_command("train.py" if name == "PNG" else "evaluate.py", *options)
    assert_one_clear_error(result)


@pytest.mark.parametrize(
    "override", ["LOSS.dice=[", "MODEL={", "MODEL.TYPE", "=", "~MODEL", "+MODEL.TYPE=unet", "a=b=c=["]
)
def test_what_hydra_cannot_parse_is_one_line(override):
    result = run_command("train.py", override)
    assert_one_clear_error(result)
    assert result.stderr.startswith("Error: ")


# Files that are not damaged but made to do harm


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "absurd shape"])
def test_weights_that_reach_outside_their_file_are_refused(kind, tmp_path):
    cfg = load_config([f"WORK_DIR={tmp_path}", "MODEL.WEIGHTS_FILE_NAME=m", "CALLBACKS.MODEL_CHECKPOINT.PATH=."])
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        if kind == "external link":
            file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
        elif kind == "soft link":
            file["layers"] = h5py.SoftLink("/elsewhere")
        elif kind == "external storage":
            file.create_dataset("w", (10,), "u1", external=[("/etc/passwd", 0, 10)])
        else:
            file.create_dataset("w", (10**7, 10**7), "f4", chunks=(1000, 1000))
    with pytest.raises(UserError, match="refused"):
        load_weights(None, cfg)


def test_a_state_with_pickled_objects_is_left_out(tmp_path):
    from utils.training.state import read_state

    path = tmp_path / "m.state.npz"
    np.savez(path, about=np.array([{"epoch": 1}], object), v0=np.zeros(3))
    assert read_state(path) is None


def test_members_of_a_state_never_leave_their_archive(tmp_path):
    """A state is read in memory: a member named ../ writes nothing."""
    import zipfile

    from utils.training.state import read_state

    path = tmp_path / "inside/m.state.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.npy", b"data")
        archive.writestr("/tmp/about.npy", b"data")
    assert read_state(path) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["inside"]


def test_nothing_unpacks_archives():
    """No code of the project extracts members of an archive; whoever adds that has to keep them in their folder."""
    from helpers import PROJECT

    for path in PROJECT.rglob("*.py"):
        if ".venv" not in path.parts and "tests" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not any(word in text for word in (".extractall(", "unpack_archive", "import tarfile", "pickle.load"))
            assert "import pickle" not in text or path.name == "state_dict.py"  # which refuses all but a few names


@pytest.mark.parametrize(
    "override", ["+MODEL._target_=os.system", "+_target_=os.system", "MODEL.BACKBONE={_target_: a}"]
)
def test_no_setting_can_name_code(override):
    with pytest.raises(UserError, match=r"_target_|does not exist"):
        load_config([override])


def test_a_config_beside_weights_cannot_name_code(tmp_path):
    from utils.checkpoints import read_config

    for text in ("_target_: os.system\n", "!!python/object/apply:os.system ['echo harm']\n"):
        (tmp_path / "m.yaml").write_text(text)
        with pytest.raises(UserError, match="damaged"):
            read_config(tmp_path / "m.yaml")


def test_pictures_that_promise_too_much_are_refused_before_decoding(tmp_path):
    import struct
    import zlib

    from data_generators.reading.decoding import read_image
    from data_generators.reading.headers import PNG_START

    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(PNG_START + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))
    with pytest.raises(UserError, match="promises 60000x60000 pixels"):
        read_image(path, 3)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_scans_that_promise_too_much_are_refused_before_decoding(ending, tmp_path):
    import gzip

    import nibabel as nib

    from data_preparation.scans.nifti import read_scan

    whole = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)).to_bytes()
    opener = gzip.open if ending.endswith("gz") else open
    for side, words in ((32_000, "more than"), (1500, "not a complete NIfTI file: its header declares")):
        data = bytearray(whole)
        data[42:48] = np.array([side] * 3, "<i2").tobytes()
        with opener(tmp_path / f"a{ending}", "wb") as file:
            file.write(data)
        with pytest.raises(UserError, match=words):
            read_scan(tmp_path / f"a{ending}")


def test_dicom_that_declares_too_much_is_refused_before_decoding(tmp_path):
    from scan_helpers import scan, write_series

    from data_preparation.scans.nifti import read_scan

    def promise(index, data):
        data.Rows = data.Columns = 60_000

    write_series(tmp_path / "series", scan(), change=promise)
    with pytest.raises(UserError, match="declares"):
        read_scan(tmp_path / "series")


# What goes wrong while it trains


def test_out_of_memory_says_what_to_lower():
    import tensorflow as tf

    from utils.devices.failures import explain_failures

    with pytest.raises(UserError, match=r"BATCH_SIZE=2.*AMP"), explain_failures(load_config()):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def test_a_loss_that_is_no_number_names_the_images(tmp_path, phantom, monkeypatch):
    from losses import supervision
    from train import train

    monkeypatch.setattr(supervision, "build_training_loss", lambda cfg: lambda *batch: float("nan"))
    cfg = load_config(
        [f"WORK_DIR={phantom}", "MODEL.TYPE=unet", "MODEL.FILTERS=[4,6]", "INPUT.HEIGHT=48", "INPUT.WIDTH=48",
         "VERBOSE=0", f"CALLBACKS.MODEL_CHECKPOINT.PATH={tmp_path}", f"CALLBACKS.CSV_LOGGER.PATH={tmp_path}",
         f"CALLBACKS.TENSORBOARD.PATH={tmp_path}"]
    )  # fmt: skip
    with pytest.raises(UserError, match=r"not a number after the batch of .*image_\d+_\d+\.png, .*LEARNING_RATE"):
        train(cfg)
    assert not list(tmp_path.glob("*.weights.h5"))


def test_damaged_weights_fall_back_to_the_version_before(tmp_path, capsys):
    import keras

    from utils.checkpoints import save_weights

    cfg = load_config([f"WORK_DIR={tmp_path}", "MODEL.WEIGHTS_FILE_NAME=m", "CALLBACKS.MODEL_CHECKPOINT.PATH=."])
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    path, values = tmp_path / "m.weights.h5", network.get_weights()
    save_weights(network, path, backups=1)
    network.set_weights([value + 1 for value in values])
    save_weights(network, path, backups=1)
    data = bytearray(path.read_bytes())
    data[data.index(network.get_weights()[0].tobytes()[:64])] ^= 1  # one bit of one weight
    path.write_bytes(data)
    load_weights(network, cfg)
    for found, value in zip(network.get_weights(), values, strict=True):
        np.testing.assert_array_equal(found, value)
    warning = capsys.readouterr().err
    assert "checksum is wrong" in warning and "m.older1.weights.h5, the version before it, is used" in warning


@pytest.mark.parametrize("moved", range(5))
def test_the_weights_of_an_earlier_run_outlive_a_kill_between_any_two_steps(moved, tmp_path, monkeypatch):
    """`archive_previous_run` is ended after so many files are moved; called again by a new run it loses nothing."""
    from utils.checkpoints.paths import archive_previous_run

    weights = tmp_path / "m.weights.h5"
    files = {".weights.h5": "good", ".yaml": "RUN: a", ".keras": "model"}
    for ending, text in files.items():
        (tmp_path / f"m{ending}").write_text(text)
        (tmp_path / f"m.previous{ending}").write_text(f"older {text}")
    replace, done = Path.replace, []

    def counted(path, target):
        if len(done) == moved:
            raise KeyboardInterrupt
        done.append(path)
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, StopIteration)):
        patch.setattr(Path, "replace", counted)
        archive_previous_run(weights, "b")
        raise StopIteration
    (tmp_path / "m.yaml").write_text("RUN: b") if moved >= 3 else None  # the new run's, whose weights never came
    archive_previous_run(weights, "c")
    assert {ending: (tmp_path / f"m.previous{ending}").read_text() for ending in files} == files
