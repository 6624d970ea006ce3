"""Damaged files and mistyped settings: one clear message each, never another exception."""

import random
from collections import Counter

import cv2
import h5py
import nibabel as nib
import numpy as np
import pytest
from conftest import run_command

from data_generators.images import read_image, read_mask
from data_generators.pairing import read_list
from data_preparation.lits import Case, read_case
from utils.checkpoints import load_weights, read_config, save_config
from utils.config import RULES, load_config
from utils.errors import UserError


def mutations(data, count, seed):
    """`count` damaged copies: half cut off at a random length, half with some bytes changed, doubled or left out."""
    random_ = random.Random(seed)
    for number in range(count):
        if number % 2:
            yield data[: random_.randrange(len(data))]
            continue
        damaged = bytearray(data)
        for _ in range(random_.choice((1, 4, 32))):
            place = random_.randrange(max(len(damaged), 1))
            kind = random_.choice(("change", "double", "drop"))
            if kind == "change" and damaged:
                damaged[place] = random_.randrange(256)
            elif kind == "double":
                damaged[place:place] = damaged[place : place + random_.randrange(1, 64)]
            else:
                del damaged[place : place + random_.randrange(1, 64)]
        yield bytes(damaged)


def count_outcomes(path, read, count=100):
    """Read damaged copies of a file; a UserError or a result is fine, anything else fails the test."""
    whole, outcomes = path.read_bytes(), Counter()
    for damaged in mutations(whole, count, path.name):
        path.write_bytes(damaged)
        try:
            read(path)
            outcomes["read"] += 1
        except UserError as error:
            assert "\n" not in str(error).strip()[:60]
            outcomes["refused"] += 1
    path.write_bytes(whole)
    read(path)
    print(f"{path.suffixes}: {dict(outcomes)}")
    assert outcomes["refused"] > 0
    return outcomes


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".bmp"])
def test_pictures(ending, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    path = tmp_path / f"picture{ending}"
    assert cv2.imwrite(str(path), pixels)
    count_outcomes(path, lambda path: read_image(path, 3))


def test_masks(tmp_path):
    path = tmp_path / "mask.png"
    assert cv2.imwrite(str(path), np.eye(40, dtype=np.uint8))
    count_outcomes(path, read_mask)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_scans(ending, tmp_path):
    voxels = np.random.default_rng(0).integers(-1000, 1000, (16, 12, 5)).astype(np.int16)
    scan, labels = tmp_path / f"volume-0{ending}", tmp_path / f"segmentation-0{ending}"
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), scan)
    nib.save(nib.Nifti1Image((voxels > 0).astype(np.uint8), np.eye(4)), labels)

    def read(path):
        for volume in read_case(Case(0, scan, labels))[:2]:
            for index in range(volume.voxels.shape[2]):
                volume.slice(index)

    count_outcomes(scan, read)


def test_configs_beside_weights(tmp_path):
    save_config(load_config(), tmp_path / "model.weights.h5")
    count_outcomes(tmp_path / "model.yaml", read_config)


def test_lists_of_files(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\n".join(f"images/ä{number}.png" for number in range(20)), encoding="utf-8")
    count_outcomes(path, read_list)


def test_weights(tmp_path):
    import keras

    cfg = load_config([f"WORK_DIR={tmp_path}", "MODEL.WEIGHTS_FILE_NAME=m", "CALLBACKS.MODEL_CHECKPOINT.PATH=."])
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.Conv2D(2, 3, name="c")(image))
    path = tmp_path / "m.weights.h5"
    network.save_weights(path)
    count_outcomes(path, lambda path: load_weights(network, cfg))


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


def test_out_of_memory_says_what_to_lower():
    import tensorflow as tf

    from utils.devices import explain_memory

    with pytest.raises(UserError, match=r"BATCH_SIZE=2.*AMP"), explain_memory(load_config()):
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


def test_states(tmp_path):
    from utils.resume import read_newest

    path = tmp_path / "m.state.npz"
    about = b'{"epoch": 1, "step": 0, "finished": false, "config": {}, "callbacks": {}}'
    with open(path, "wb") as file:
        np.savez(file, about=np.frombuffer(about, np.uint8), v0=np.arange(100.0))
    whole, outcomes = path.read_bytes(), Counter()
    for damaged in mutations(whole, 100, 0):
        path.write_bytes(damaged)
        state = read_newest(path)
        # The checksums of the archive: what is read is what was written.
        assert state is None or np.array_equal(state[1][0], np.arange(100.0))
        outcomes[state is None] += 1
    assert outcomes[True] > 50


def test_two_hundred_mistyped_settings():
    random_, keys, outcomes = random.Random(0), [key for key in RULES if "." in key], Counter()
    values = [
        "",
        "nan",
        "-1",
        "1e99",
        "null",
        "[]",
        "[1,a]",
        "{a: 1}",
        "true",
        "'x y'",
        "0.5",
        "[[1]]",
        "..",
        "${A}",
        "\\",
    ]
    for _ in range(200):
        key = random_.choice(keys)
        if random_.random() < 0.3:
            place = random_.randrange(len(key))
            key = key[:place] + random_.choice(["", "x", ".", "=", "["]) + key[place + 1 :]
        try:
            load_config([f"{key}={random_.choice(values)}"])
            outcomes["fits"] += 1
        except UserError as error:
            assert str(error).strip()
            outcomes["refused"] += 1
    print(dict(outcomes))
    assert outcomes["refused"] > 100


@pytest.mark.parametrize(
    "override", ["LOSS.dice=[", "MODEL={", "MODEL.TYPE", "=", "~MODEL", "+MODEL.TYPE=unet", "a=b=c=["]
)
def test_what_hydra_cannot_parse_is_one_line(override):
    result = run_command("train.py", override)
    assert result.returncode == 2 and "Traceback" not in result.stderr and result.stderr.startswith("Error: ")
