"""Exported files give what the model gives, for every model type and format."""

import contextlib
import json
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from helpers import TINY, assert_one_clear_error, make_weights, run_command

from export import export
from models import MODEL_TYPES
from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.config import load_config
from utils.export.formats import FORMATS, check_export

SMALL = ["INPUT.HEIGHT=32", "INPUT.WIDTH=32", "VERBOSE=0"]


def export_as(folder, model_type, *overrides):
    return export(load_config([f"WORK_DIR={folder}", f"MODEL.TYPE={model_type}", "VERBOSE=0", *overrides]))


def add_image(folder):
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8), (5, 5), 0)
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images/a.png"), image)
    return image[..., ::-1]


# All layers of the others stand in these.
WIDEST = ("unet3plus_deepsup_cgm", "unet++", "conv_deconv", "classifier")


@pytest.mark.parametrize(
    "model_type", [pytest.param(name, marks=[] if name in WIDEST else pytest.mark.slow) for name in MODEL_TYPES]
)
def test_every_model_type_as_onnx_and_tflite_and_saved_model(model_type, tmp_path):
    named = ["OUTPUT.CLASS_NAMES=[a,b]"] if model_type == "classifier" else []
    filters = "[4,6]" if model_type == "unet3plus_deepsup_cgm" else "[4,6,8]"  # it has every layer on two levels
    model = make_weights(tmp_path, [f"MODEL.TYPE={model_type}", f"MODEL.FILTERS={filters}", *SMALL, *named])
    image = add_image(tmp_path)[None] / np.float32(255)
    expected = model.predict(image, verbose=0)
    assert expected.std() > 0
    for name in ("onnx", "tflite", "saved_model"):
        pytest.importorskip("tf2onnx" if name == "onnx" else "tensorflow")
        path = export_as(tmp_path, model_type, f"EXPORT.FORMAT={name}", "PREDICT.INPUT=images")
        np.testing.assert_allclose(run(path, name, image), expected, atol=1e-4)
        np.testing.assert_allclose(run_card(path, tmp_path / "images/a.png")["probabilities"], expected, atol=1e-4)
    assert "not measured" in card_of(path).read_text().lower()
    assert len(list(path.parent.glob("*.md"))) == 3, "a card for each file"


def test_a_card_shows_no_scores_of_other_weights(tmp_path):
    from utils.export.model_card import score_tables

    path = tmp_path / "m.evaluation/evaluation.json"
    path.parent.mkdir()
    entry = {"images": 3, "scores": {"dice": 0.5}}
    path.write_text(json.dumps({"weights_sha256": "ab", "splits": {"val": entry}}))
    assert "| dice | 0.5000 |" in score_tables(path, "ab")
    other = score_tables(path, "cd", "python evaluate.py")
    assert other == "Not measured: `m.evaluation` is of other weights; `python evaluate.py` writes theirs.\n"


def card_of(path):
    return path.with_name(f"{path.name}.md")


def run_card(path, picture):
    """The variables after the six lines of the model card, with that picture beside the file."""
    (code,) = re.findall(r"```python\n(.*?)```", card_of(path).read_text(), re.DOTALL)
    assert len(code.splitlines()) == 6
    shutil.copy(picture, path.parent / "image.png")
    variables = {}
    with contextlib.chdir(path.parent):
        exec(code, variables)
    return variables


def run(path, name, image):
    return load_object(FORMATS[name].run)(path)(image)


def test_any_size_and_indices_inside(tmp_path):
    pytest.importorskip("tf2onnx")
    model = make_weights(tmp_path, ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,6]", *SMALL, "OPTIMIZATION.AMP=True"])
    image = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8)
    import keras

    keras.config.set_dtype_policy("float32")
    for name in ("onnx", "saved_model"):
        path = export_as(tmp_path, "unet", f"EXPORT.FORMAT={name}", "EXPORT.SIZE=dynamic", "EXPORT.PREPROCESS=True")
        got = run(path, name, image)
        large = load_any_size(tmp_path).predict(image / np.float32(255), verbose=0).argmax(-1)
        assert got.dtype == np.int32 and got.shape == (2, 48, 64) and (got == large).mean() > 0.999
        cv2.imwrite(str(tmp_path / "a.png"), image[0, ..., ::-1])
        assert (run_card(path, tmp_path / "a.png")["classes"] == got[:1]).all()
    assert model.output_shape == (None, 32, 32, 2)


def load_any_size(folder):
    from models import build_model, inference_model
    from utils.checkpoints import load_weights

    cfg = load_config([f"WORK_DIR={folder}", "MODEL.TYPE=unet", "MODEL.FILTERS=[4,6]", "INPUT.HEIGHT=null",
                       "INPUT.WIDTH=null", "HYPER_PARAMETERS.BATCH_SIZE=1"])  # fmt: skip
    network = build_model(cfg)
    load_weights(network, cfg)
    return inference_model(network)


def test_quantised_files_are_smaller_and_close(tmp_path):
    model = make_weights(tmp_path, ["MODEL.TYPE=unet", "MODEL.FILTERS=[24,32]", *SMALL])
    image = add_image(tmp_path)[None] / np.float32(255)
    sizes = {}
    for kind, near in {"null": 1e-5, "float16": 5e-3, "int8": 0.15}.items():
        path = export_as(tmp_path, "unet", "EXPORT.FORMAT=tflite", f"EXPORT.QUANTIZE={kind}", "PREDICT.INPUT=images")
        sizes[kind] = path.stat().st_size
        np.testing.assert_allclose(run(path, "tflite", image), model.predict(image, verbose=0), atol=near)
    assert sizes["int8"] < 0.7 * sizes["float16"] < 0.7 * sizes["null"]


def test_the_keras_file_is_loaded_again(tmp_path, capsys):
    model = make_weights(tmp_path, [*TINY, "VERBOSE=0"])
    path = export_as(tmp_path, "tiny_unet3plus", "EXPORT.FORMAT=keras", "VERBOSE=1")
    steps = ["building tiny_unet3plus", "converting to keras", "comparing the file with the model"]
    assert capsys.readouterr().err.splitlines() == steps
    image = np.random.default_rng(0).random((1, 48, 48, 3), np.float32)
    np.testing.assert_allclose(run(path, "keras", image), model.predict(image, verbose=0), atol=1e-5)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["model.keras", "model.keras.md"]
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.uint8(image[0] * 255)[..., ::-1])
    expected = model.predict(np.uint8(image * 255) / np.float32(255), verbose=0)
    np.testing.assert_allclose(run_card(path, picture)["probabilities"], expected, atol=1e-5)


SCANS = {"PREPARED_BY": "preprocess_data.py", "SCAN_MIN_VALUE": -100, "SCAN_MAX_VALUE": 400}


def test_card_and_onnx_metadata_say_what_the_file_takes(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("tf2onnx")
    prepared = [f"DATA_PREPARATION.{key}={value}" for key, value in SCANS.items()]
    make_weights(tmp_path, [*TINY, "VERBOSE=0", "OUTPUT.CLASS_NAMES=[background,liver]", *prepared])
    path = export_as(tmp_path, "tiny_unet3plus", "EXPORT.FORMAT=onnx")
    card, model = card_of(path).read_text(), onnx.load(path)
    assert [tensor.name for tensor in (*model.graph.input, *model.graph.output)] == ["image", "probabilities"]
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert held["channels"] == "slice below, slice, slice above"
    assert held["classes"] == "0 background, 1 liver"
    assert "-100 to 400" in held["slices of scans"]
    for name, text in held.items():
        assert f"| {name} | {text} |" in card
    assert "| output | `probabilities`, float32, (batch, 48, 48, 2) |" in card


def test_the_table_of_formats_imports_nothing_heavy():
    script = "import sys, utils.export.formats; print({'tensorflow', 'keras', 'numpy'} & set(sys.modules))"
    assert run_command("-c", script).stdout.strip() == "set()"


def test_the_row_of_a_format_decides_what_it_can_do(tmp_path, monkeypatch):
    cfg = load_config([*TINY, "EXPORT.FORMAT=onnx", "EXPORT.SIZE=dynamic", "EXPORT.PREPROCESS=True"])
    assert check_export(cfg) is FORMATS["onnx"]
    limited = replace(FORMATS["onnx"], any_size=False)
    monkeypatch.setitem(FORMATS, "onnx", limited)
    with pytest.raises(UserError, match=r"EXPORT\.SIZE=dynamic needs EXPORT\.FORMAT=tflite or saved_model or keras"):
        check_export(cfg)


def test_what_does_not_go_together(tmp_path):
    make_weights(tmp_path, [*TINY, "VERBOSE=0"])
    for words, overrides in {
        "QUANTIZE": ["EXPORT.QUANTIZE=int8"],
        "calibrate": ["EXPORT.FORMAT=tflite", "EXPORT.QUANTIZE=int8"],
    }.items():
        with pytest.raises(UserError, match=words):
            export_as(tmp_path, "tiny_unet3plus", *overrides)
    assert_one_clear_error(run_command("export.py", f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet"), "No weights")
