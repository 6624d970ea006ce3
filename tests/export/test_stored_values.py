"""EXPORT.PREPROCESS=True of 16 bit and floating point: the file takes stored values and gives what loaders lead to."""

import cv2
import numpy as np
import pytest
from helpers import make_weights

from data_generators import build_dataset
from export import export
from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.config import load_config
from utils.export.formats import FORMATS, check_export

KIND = "PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE"
SIDE = 32
NETWORK = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,6]", f"INPUT.HEIGHT={SIDE}", f"INPUT.WIDTH={SIDE}", "VERBOSE=0"]
NETWORK += ["INPUT.CHANNELS=1", "OUTPUT.CLASSES=3", "loss=cce_dice"]
RANGE = "PREPROCESS_DATA.VALUE_RANGE=[-900,1700]"
NUMBERS = {"LOW": 0.2, "HIGH": 0.7, "MEAN": 0.4, "STD": 0.2}
DATASET = [f"{KIND}=dataset", *(f"PREPROCESS_DATA.STATISTICS.{name}=[{value}]" for name, value in NUMBERS.items())]
SCANS = ["PREPARED_BY=volumes", "DEPTH=16", "SCAN_MIN_VALUE=-1024", "SCAN_MAX_VALUE=3071.9375"]
SCANS = [f"DATA_PREPARATION.{key}" for key in SCANS]
WINDOW = [*SCANS, f"{KIND}=window", "PREPROCESS_DATA.WINDOW=[-200,250]"]
PROBABILITIES = ["EXPORT.PREPROCESS=True", "EXPORT.OUTPUT=probabilities"]


def write_pairs(folder, stored):
    """Two images of a training set with values from -1000 to 2000, and their masks; float TIFF or PNG of 16 bit."""
    values = cv2.GaussianBlur(np.random.default_rng(0).normal(400, 4000, (2, SIDE, SIDE)), (0, 0), 1)
    values = np.clip(values, -1000, 2000)
    values = values.astype(np.float32) if stored == "float" else np.uint16(np.rint((values + 1024) * 16))
    ending = "tif" if stored == "float" else "png"
    for part in ("images", "mask"):
        (folder / "data/val" / part).mkdir(parents=True)
    for index, image in enumerate(values):
        cv2.imwrite(str(folder / f"data/val/images/image_1_{index}.{ending}"), image)
        cv2.imwrite(str(folder / f"data/val/mask/mask_1_{index}.png"), np.zeros((SIDE, SIDE), np.uint8))
    return values[..., np.newaxis].astype(np.float32)


CASES = {
    "float normalize": ("float", [RANGE]),
    "float percentile": ("float", [RANGE, f"{KIND}=percentile"]),
    "float zscore": ("float", [RANGE, f"{KIND}=zscore"]),
    "float dataset": ("float", [RANGE, *DATASET]),
    "scans normalize": ("scans", SCANS),
    "scans window": ("scans", WINDOW),
    "scans zscore": ("scans", [*SCANS, f"{KIND}=zscore", "PREPROCESS_DATA.FOREGROUND=True"]),
    "scans dataset": ("scans", [*SCANS, *DATASET]),
}
QUICK = {("float normalize", "onnx"), ("scans dataset", "onnx"), ("scans window", "keras"), ("float zscore", "keras")}


@pytest.mark.parametrize(
    ("case", "form"),
    [
        pytest.param(case, form, marks=[] if (case, form) in QUICK else pytest.mark.slow)
        for case in CASES
        for form in FORMATS
    ],
)
def test_stored_values_give_the_probabilities_of_the_loaders(case, form, tmp_path):
    pytest.importorskip("tf2onnx" if form == "onnx" else "tensorflow")
    kind, choice = CASES[case]
    stored = write_pairs(tmp_path, kind)
    model = make_weights(tmp_path, [*NETWORK, *choice])
    (loaded, _), *_ = build_dataset(load_config([f"WORK_DIR={tmp_path}", *NETWORK, *choice]), "val", batch_size=2)
    expected = model.predict(loaded, verbose=0)
    assert expected.std() > 1e-3 and stored.max() > 255
    command = [f"WORK_DIR={tmp_path}", *NETWORK, f"EXPORT.FORMAT={form}"]
    path = export(load_config([*command, *PROBABILITIES]))
    np.testing.assert_allclose(run(path, form, stored), expected, atol=1e-4)
    card = path.with_name(f"{path.name}.md").read_text()
    assert "values as stored" in card and "`probabilities`, float32" in card


def run(path, form, images):
    """The output of an exported file."""
    return load_object(FORMATS[form].run)(path)(images)


@pytest.mark.parametrize("overrides", [[], ["OUTPUT.CLASSES=1", "loss=bce_dice"]])
def test_the_keras_file_returns_classes_too(tmp_path, overrides):
    stored = write_pairs(tmp_path, "float")
    model = make_weights(tmp_path, [*NETWORK, RANGE, *overrides])
    unit = (np.clip(stored, -900, 1700) + 900) / 2600
    options = ["MODEL.TYPE=unet", "VERBOSE=0", "EXPORT.FORMAT=keras", "EXPORT.PREPROCESS=True"]
    path = export(load_config([f"WORK_DIR={tmp_path}", *options]))
    found, expected = run(path, "keras", stored), model.predict(unit, verbose=0)
    expected = expected.argmax(-1) if expected.shape[-1] > 1 else expected[..., 0] > 0.5
    assert found.dtype == np.int32 and (found == expected).mean() > 0.995


def test_without_preprocess_the_card_scales_stored_values(tmp_path):
    stored = write_pairs(tmp_path, "scans")
    model = make_weights(tmp_path, [*NETWORK, *WINDOW])
    path = export(load_config([f"WORK_DIR={tmp_path}", *NETWORK, "EXPORT.FORMAT=keras"]))
    (line,) = [line for line in path.with_name("model.keras.md").read_text().splitlines() if "np.load" in line]
    np.save(tmp_path / "image.npy", stored[0].astype(np.uint16))
    variables = {"np": np}
    exec(line.replace('"image.npy"', repr(str(tmp_path / "image.npy"))), variables)
    unit = np.clip((stored[:1] / 16 - 1024 + 200) / 450, 0, 1)
    np.testing.assert_allclose(variables["image"], unit, atol=1e-5)
    np.testing.assert_allclose(run(path, "keras", variables["image"]), model.predict(unit, verbose=0), atol=1e-4)


def test_what_cannot_be_inside_is_refused(tmp_path):
    int8 = ["EXPORT.PREPROCESS=True", "EXPORT.FORMAT=tflite", "EXPORT.QUANTIZE=int8"]
    with pytest.raises(UserError, match=r"cannot hold the stored values .* Use EXPORT.QUANTIZE=float16, or leave"):
        check_export(load_config([*NETWORK, *WINDOW, *int8]))
    write_pairs(tmp_path, "scans")
    make_weights(tmp_path, NETWORK)
    with pytest.raises(UserError, match=r"takes 8 bit, .*\.png has 16: leave it out .*VALUE_RANGE=\[0,65535\]"):
        export(load_config([f"WORK_DIR={tmp_path}", *NETWORK, "EXPORT.FORMAT=keras", "EXPORT.PREPROCESS=True"]))
    assert not [path for path in tmp_path.rglob("*.keras*") if path.is_file()]
