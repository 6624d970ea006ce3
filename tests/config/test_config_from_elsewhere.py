"""The config beside weights may come from elsewhere: plain data, which chooses neither paths nor hosts."""

import time

import pytest
from omegaconf import OmegaConf

from utils.base.errors import UserError
from utils.base.plain_yaml import read_plain_yaml
from utils.checkpoints import read_config, restore_config, save_config
from utils.config import load_config
from utils.config.checks import check_config

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    "text, words",
    [
        ("SEED: ${oc.env:HOME}", "not resolved"),
        ("OUTPUT: {CLASS_NAMES: ['a', 'x${oc.env:HOME}']}", "not resolved"),
        ("SEED: ${MISSING_KEY}", "not resolved"),
        ("${oc.env:HOME}: 1", "not resolved"),
        ("SEED: ???", "is not a value"),
        ("SEED: '???'", "is not a value"),
        ("a: &a 1\nb: *a", "anchors and aliases"),
        ("a: &a [*a]", "anchors and aliases"),
        ("<<: *a", "anchors and aliases"),
        (LAUGHS, "anchors and aliases"),
        ("SEED: !!python/object/apply:os.system [id]", "tags"),
        ("SEED: !!int '5'", "tags"),
        ("a: " + "[" * 3000 + "]" * 3000, "damaged"),
        ("a: " + "[" * 30 + "]" * 30, "nested deeper"),
        ("a: [" + "1, " * 200_000 + "1]", "nested deeper|too many"),
        ("a: " + "x" * 2_000_000, "characters"),
        ("- 1", "no keys"),
        ("", "damaged"),
        ("SEED: [", "is not YAML"),
        ("SEED: 1\nSEED: 2", "line 2: is not YAML: found duplicate key"),
    ],
)
def test_anything_but_plain_data_is_refused_at_once(text, words, tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(text)
    begin = time.monotonic()
    with pytest.raises(UserError, match=words):
        read_config(path)
    assert time.monotonic() - begin < 5


def test_names_of_classes_are_printable():
    cfg = load_config([])
    cfg.OUTPUT.CLASS_NAMES = ["background", "\x1b[31m"]
    with pytest.raises(UserError, match=r"OUTPUT.CLASS_NAMES: the name '.x1b.*control characters"):
        check_config(cfg)


def test_numbers_are_read_as_omegaconf_writes_them():
    values = {"a": 1e-05, "b": None, "c": True, "d": "1e-3", "e": [1, 2.5], "f": "on", "g": {}, "h": "#x: y"}
    assert OmegaConf.to_container(read_plain_yaml(OmegaConf.to_yaml(OmegaConf.create(values)))) == values


def test_the_file_chooses_neither_paths_to_write_nor_weights_nor_hosts(tmp_path):
    sent = load_config(["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "DATA_GENERATOR_TYPE=TF_DATA", "SEED=77"])
    sent.CALLBACKS.MODEL_CHECKPOINT.PATH = sent.CALLBACKS.CSV_LOGGER.PATH = sent.CALLBACKS.TENSORBOARD.PATH = "/sent"
    sent.PREDICT.OUTPUT_PATH = sent.EXPORT.PATH = sent.DATASET.REPORT_PATH = sent.DATASET.CACHE = "/sent"
    sent.MODEL.WEIGHTS_FILE_NAME = "../sent"
    sent.DATASET.SERVICE = ["sent:5050"]
    sent.PREDICT.ENSEMBLE = ["sent"]
    cfg = load_config([f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet"])
    weights = tmp_path / "checkpoint/model_unet.weights.h5"
    weights.parent.mkdir()
    weights.touch()
    save_config(sent, weights)
    restored = restore_config(cfg)
    assert restored.SEED == 77 and list(restored.MODEL.FILTERS) == [4, 8]
    assert "sent" not in OmegaConf.to_yaml(restored)


@pytest.mark.parametrize("override", ["SEED=???", "OUTPUT.CLASSES=???"])
def test_a_value_left_open_is_refused(override):
    with pytest.raises(UserError, match=override.split("=")[0]):
        load_config([override])
