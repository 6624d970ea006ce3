"""Defaults, overrides, and one clear message for each kind of mistake."""

import pytest
import quick_helpers
from helpers import PROJECT, assert_one_clear_error, run_command
from omegaconf import OmegaConf

from models import ENCODERS, MODEL_TYPES
from utils.base.errors import UserError
from utils.base.files import check_writable, writable_folder
from utils.checkpoints import restore_config, weights_path
from utils.config import load_config


def test_defaults_are_those_users_know():
    cfg = load_config()
    assert cfg.DATA_PREPARATION.SCANS_TRAIN_DATA_PATH == "/data/Training Batch 2/"
    assert cfg.DATA_PREPARATION.SCANS_VAL_DATA_PATH == "/data/Training Batch 1/"
    assert (cfg.DATA_PREPARATION.SCAN_MIN_VALUE, cfg.DATA_PREPARATION.SCAN_MAX_VALUE) == (-200, 250)
    assert (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH, cfg.INPUT.CHANNELS, cfg.OUTPUT.CLASSES) == (320, 320, 3, 2)
    assert cfg.MODEL.WEIGHTS_FILE_NAME == "model_unet3plus"
    assert cfg.SEED == 5
    assert dict(cfg.LOSS) == {"focal": 1, "ssim": 1, "iou": 1}
    assert "bench_steps" not in cfg and "warmup_steps" not in cfg


def test_interpolations_follow_overrides():
    cfg = load_config(["MODEL.TYPE=tiny_unet3plus", "INPUT.HEIGHT=64", "INPUT.WIDTH=32"])
    assert cfg.MODEL.WEIGHTS_FILE_NAME == "model_tiny_unet3plus"
    assert (cfg.PREPROCESS_DATA.RESIZE.HEIGHT, cfg.DATA_PREPARATION.RESIZED_WIDTH) == (64, 32)


@pytest.mark.parametrize("none", ["None", "null", '"none"', "none"])
def test_no_masks_in_every_spelling(none):
    assert load_config([f"DATASET.VAL.MASK_PATH={none}"]).DATASET.VAL.MASK_PATH is None


def test_a_loss_preset_replaces_the_default():
    assert "ssim" not in load_config(["loss=bce_dice"]).LOSS


@pytest.mark.parametrize(
    "override, words",
    [
        ("MODEL.TYP=x", ["MODEL.TYP", "MODEL.TYPE", "MODEL.BACKBONE"]),
        ("+MODEL.TYP=x", ["MODEL.TYP", "MODEL.TYPE"]),
        ("+anything=1", ["anything", "HYPER_PARAMETERS"]),
        ("HYPER_PARAMETERS.EPOCHS=abc", ["HYPER_PARAMETERS.EPOCHS=abc", "int"]),
        ("HYPER_PARAMETERS.EPOCHS=1.5", ["HYPER_PARAMETERS.EPOCHS=1.5", "int"]),
        ("HYPER_PARAMETERS.EPOCHS=true", ["HYPER_PARAMETERS.EPOCHS", "int"]),
        ("HYPER_PARAMETERS.EPOCHS=0", ["HYPER_PARAMETERS.EPOCHS=0", "at least 1"]),
        ("HYPER_PARAMETERS.LEARNING_RATE=-1", ["HYPER_PARAMETERS.LEARNING_RATE=-1", "at least"]),
        ("MODEL.TYPE=unet4", ["MODEL.TYPE=unet4", *MODEL_TYPES]),
        ("MODEL.BACKBONE.TYPE=vgg", ["MODEL.BACKBONE.TYPE=vgg", *ENCODERS]),
        ("DATA_GENERATOR_TYPE=torch", ["DATA_GENERATOR_TYPE=torch", "TF_GENERATOR", "TF_DATA"]),
        ("OPTIMIZATION.AMP=maybe", ["OPTIMIZATION.AMP=maybe", "bfloat16"]),
        ("MODEL.FILTERS=[8,wide]", ["MODEL.FILTERS", "entry must be int"]),
        ("MODEL.BACKBONE.DOWN_LAYERS=[a,b]", ["MODEL.BACKBONE.DOWN_LAYERS", "3 entries"]),
        ("HYPER_PARAMETERS.LEARNING_RATE=nan", ["HYPER_PARAMETERS.LEARNING_RATE", "number"]),
        ("MODEL.FILTERS=[8.5,16]", ["MODEL.FILTERS", "entry must be int"]),
        ("DATASET.VAL.IMAGES_PATH=[null,3]", ["DATASET.VAL.IMAGES_PATH", "str"]),
        ("MODEL.WEIGHTS_FILE_NAME=", ["MODEL.WEIGHTS_FILE_NAME", "empty"]),
        ("~MODEL.TYPE", ["MODEL.TYPE is missing"]),
        ("~DATASET.TRAIN", ["DATASET.TRAIN is missing"]),
        ("bench_steps=3", ["+bench_steps"]),
        ("los=dice", ["los", "loss"]),
        ("epochs=3", ["Did you mean HYPER_PARAMETERS.EPOCHS?"]),
        ("TYPE=unet", ["Did you mean MODEL.TYPE or MODEL.BACKBONE.TYPE?"]),
        ("INPUT.HEIGHT=null", ["INPUT.WIDTH", "both"]),
        ("loss=nothing", ["loss=nothing", "unet3plus_hybrid"]),
        ("+LOSS.jaccard=1", ["LOSS.jaccard", "iou"]),
        ("LOSS.ssim=-1", ["LOSS.ssim=-1", "at least 0"]),
        ("LOSS_OPTIONS.focal.class_weights=[1,2,3]", ["LOSS_OPTIONS.focal.class_weights=[1, 2, 3]", "2 entries"]),
        ("LOSS_OPTIONS.dice.class_weights=[1,0]", ["LOSS_OPTIONS.dice.class_weights", "above 0"]),
        ("LOSS_OPTIONS.bce.class_weights=[1,-1]", ["LOSS_OPTIONS.bce.class_weights", "at least 0"]),
        ("LOSS_OPTIONS.bce.class_weights=[1,many]", ["LOSS_OPTIONS.bce.class_weights", "int or float"]),
        ("LOSS_OPTIONS.lovasz.average=class", ["LOSS_OPTIONS.lovasz.average=class", "image, batch"]),
        ("LOSS_OPTIONS.boundary_weighted_ce.sigma=0", ["LOSS_OPTIONS.boundary_weighted_ce.sigma=0", "at least 0.1"]),
        ("DATASET.IGNORE_LABEL=1", ["DATASET.IGNORE_LABEL=1", "class index", "OUTPUT.CLASSES=2"]),
        ("DATASET.IGNORE_LABEL=256", ["DATASET.IGNORE_LABEL=256", "at most 255"]),
        ("DATASET.LABEL_VALUES=[0,1,255]", ["DATASET.LABEL_VALUES=[0, 1, 255]", "2 different values"]),
        ("DATASET.LABEL_VALUES=[0,-1]", ["DATASET.LABEL_VALUES", "at least 0"]),
        ("DATASET.CROP.MODE=middle", ["DATASET.CROP.MODE=middle", "foreground"]),
        ("DATASET.FOREGROUND_FRACTION=2", ["DATASET.FOREGROUND_FRACTION=2", "at most 1"]),
        ("EVALUATION.METRICS=[confuson]", ["EVALUATION.METRICS=confuson", "confusion", "dice_coef"]),
        ("EVALUATION.EMPTY_IMAGES=two", ["EVALUATION.EMPTY_IMAGES=two", "skip, one, zero"]),
        ("DATASET.VAL=5", ["DATASET.VAL=5", "IMAGES_PATH"]),
        ("DATA_PREPARATION.SCAN_MIN_VALUE=300", ["SCAN_MIN_VALUE=300", "250"]),
        ("PREPROCESS_DATA.RESIZE.HEIGHT=64", ["RESIZE", "INPUT"]),
    ],
)
def test_one_clear_message_for_each_mistake(override, words):
    if override.startswith("PREPROCESS_DATA"):
        overrides = [override, "PREPROCESS_DATA.RESIZE.VALUE=True"]
    else:
        overrides = [override]
    with pytest.raises(UserError) as error:
        load_config(overrides)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["DATASET.LABEL_VALUES=[0,9]", "DATASET.IGNORE_LABEL=9"], ["IGNORE_LABEL=9", "LABEL_VALUES"]),
        (["DATASET.LABEL_VALUES=[0,9]", "PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True"], ["exclude"]),
        (["DATASET.CROP.MODE=random", "PREPROCESS_DATA.RESIZE.VALUE=True"], ["DATASET.CROP.MODE=random", "RESIZE"]),
        (["DATASET.CROP.MODE=random", "DATASET.CROP.WIDTH=64"], ["320x64", "320x320"]),
        (
            ["DATASET.FOREGROUND_FRACTION=0.5", "OUTPUT.BACKGROUND=False"],
            ["FRACTION=0.5", "class 0"],
        ),
        (["DATASET.CROP.MODE=random", "MODEL.TYPE=classifier"], ["DATASET.CROP.MODE=random", "masks"]),
        (["DATASET.FOREGROUND_FRACTION=0.5", "MODEL.TYPE=classifier"], ["FOREGROUND_FRACTION=0.5", "masks"]),
    ],
)
def test_settings_of_the_samples_that_contradict(overrides, words):
    with pytest.raises(UserError) as error:
        load_config(overrides)
    assert all(word in str(error.value) for word in words)


def test_extra_keys_for_timing_are_typed_too():
    assert load_config(["+bench_steps=5", "+warmup_steps=2"]).bench_steps == 5
    with pytest.raises(UserError, match="bench_steps"):
        load_config(["+bench_steps=many"])


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "predict.py"])
@pytest.mark.parametrize(
    "override, words",
    [
        ("MODEL.TYP=x", ["MODEL.TYPE"]),
        ("HYPER_PARAMETERS.EPOCHS=abc", ["HYPER_PARAMETERS.EPOCHS", "int"]),
        ("MODEL.TYPE=unet4", ["unet3plus_deepsup_cgm"]),
    ],
)
def test_config_errors_end_with_code_2_and_without_tensorflow(script, override, words):
    # Importing TensorFlow or Keras would fail here, so the message can only come from before that.
    code = (
        f"import sys, runpy; sys.modules.update(tensorflow=None, keras=None); sys.argv[1:] = ['{override}']; "
        f"runpy.run_path('{script}', run_name='__main__')"
    )
    assert_one_clear_error(run_command("-c", code, PYTHONPATH=str(PROJECT)), *words)


@pytest.mark.parametrize(
    "overrides",
    [
        ["WORK_DIR=/a", "MODEL.FILTERS=[4,8]", "loss=dice", "++LOSS.dice=2", "~AUGMENTATION.FILL"],
        ["+experiment=lits_unet3plus", "SEED=2", "LOSS.iou=3"],
        ["SEED=1,2"],
        ["SEED=3", "loss=nothing"],
        ["SEEDX=1"],
        ["+SEED=4"],
    ],
)
def test_the_tests_compose_settings_as_hydra_does(overrides, monkeypatch):
    def outcome(compose):
        monkeypatch.setattr("hydra.compose", compose)
        try:
            return load_config(overrides)
        except UserError as error:
            return str(error)

    assert outcome(quick_helpers.compose_once) == outcome(quick_helpers.compose)


def test_help_without_tensorflow():
    code = (
        "import sys, runpy; sys.modules.update(tensorflow=None, keras=None); sys.argv[1:] = ['--help']; "
        "runpy.run_path('train.py', run_name='__main__')"
    )
    result = run_command("-c", code, PYTHONPATH=str(PROJECT))
    assert result.returncode == 0
    assert "HYPER_PARAMETERS" in result.stdout and "loss:" in result.stdout


@pytest.mark.parametrize("name", ["model_a", "model_a.hdf5", "model_a.h5", "model_a.weights.h5"])
def test_weights_name_in_every_spelling(name, tmp_path):
    cfg = load_config([f"MODEL.WEIGHTS_FILE_NAME={name}", f"WORK_DIR={tmp_path}"])
    assert weights_path(cfg) == tmp_path / "checkpoint" / "model_a.weights.h5"


@pytest.fixture
def trained(tmp_path):
    """Overrides of a run whose (empty) weights and config are there."""
    overrides = [f"WORK_DIR={tmp_path}", "MODEL.TYPE=tiny_unet3plus"]
    cfg = load_config(overrides + ["INPUT.HEIGHT=64", "INPUT.WIDTH=64", "OUTPUT.CLASSES=3"])
    weights = weights_path(cfg)
    weights.parent.mkdir()
    weights.touch()
    OmegaConf.save(cfg, weights.parent / "model_tiny_unet3plus.yaml", resolve=True)
    return overrides


def test_evaluation_takes_the_config_of_the_weights(trained):
    cfg = restore_config(load_config(trained))
    assert (cfg.INPUT.HEIGHT, cfg.OUTPUT.CLASSES) == (64, 3)


def test_what_was_typed_changes_the_config_of_the_weights(trained):
    cfg = restore_config(load_config(trained + ["HYPER_PARAMETERS.BATCH_SIZE=7", "DATASET.VAL.MASK_PATH=None"]))
    assert cfg.HYPER_PARAMETERS.BATCH_SIZE == 7
    assert cfg.DATASET.VAL.MASK_PATH is None


@pytest.mark.parametrize("override", ["OUTPUT.CLASSES=2", "INPUT.CHANNELS=1", "MODEL.CGM=True"])
def test_an_override_that_contradicts_the_weights_names_its_key(trained, override):
    with pytest.raises(UserError, match=override.split("=")[0]):
        restore_config(load_config(trained + [override]))


def test_the_channels_of_the_weights_keep_their_order(trained, tmp_path, capsys):
    path = tmp_path / "checkpoint/model_tiny_unet3plus.yaml"
    saved = OmegaConf.load(path)
    saved.DATASET.CHANNELS = ["pre", "flair", "post"]
    OmegaConf.save(saved, path)
    with pytest.raises(
        UserError, match=r"CHANNELS=\[post,flair,pre\] contradicts the weights .*CHANNELS=\[pre,flair,post\]"
    ):
        restore_config(load_config([*trained, "DATASET.CHANNELS=[post,flair,pre]"]))
    for channels in (["pre", "flair", "post"], ["t1n", "flair", "t1c"]):
        cfg = restore_config(load_config([*trained, f"DATASET.CHANNELS=[{','.join(channels)}]"]))
        assert channels == cfg.DATASET.CHANNELS
    assert not capsys.readouterr().err


def test_other_bands_than_those_of_the_weights_are_noted_once(trained, capsys):
    for _ in range(2):
        assert restore_config(load_config([*trained, "DATASET.BANDS=[7,5,6]"])).DATASET.BANDS == [7, 5, 6]
    (line,) = capsys.readouterr().err.splitlines()
    assert "DATASET.BANDS=[7,5,6], the weights were trained with DATASET.BANDS=null" in line


def test_no_weights_yet(tmp_path):
    with pytest.raises(UserError, match="Train first"):
        restore_config(load_config([f"WORK_DIR={tmp_path}"]))


def test_a_flag_that_the_type_implies_does_not_contradict(trained):
    assert restore_config(load_config([*trained, "MODEL.DEEP_SUPERVISION=False"])).OUTPUT.CLASSES == 3


def test_settings_of_the_command_are_not_taken_from_the_weights(trained, tmp_path):
    path = tmp_path / "checkpoint/model_tiny_unet3plus.yaml"
    saved = OmegaConf.load(path)
    saved.VERBOSE, saved.USE_MULTI_GPUS.VALUE = 0, True
    OmegaConf.save(saved, path)
    cfg = restore_config(load_config(trained))
    assert cfg.VERBOSE == 1 and cfg.USE_MULTI_GPUS.VALUE is None


@pytest.mark.parametrize("text", ["", "[1, 2]", "MODEL: {TYPE: [", "MODEL: 3"])
def test_a_damaged_config_beside_the_weights(trained, tmp_path, text):
    (tmp_path / "checkpoint/model_tiny_unet3plus.yaml").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        restore_config(load_config(trained))


def test_a_path_is_read_where_it_is_written(tmp_path):
    (tmp_path / "work").mkdir()
    absolute = tmp_path / "elsewhere" / "checkpoint"
    absolute.parent.mkdir()
    cfg = load_config([f"WORK_DIR={tmp_path / 'work'}", f"CALLBACKS.MODEL_CHECKPOINT.PATH={absolute}"])
    before = weights_path(cfg)
    assert writable_folder(cfg, absolute, "KEY") == absolute == before.parent == weights_path(cfg).parent
    assert writable_folder(cfg, "/checkpoint", "KEY") == tmp_path / "work" / "checkpoint"


def test_a_folder_that_cannot_be_made_names_its_key(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="SOME_KEY"):
        check_writable(load_config([f"WORK_DIR={tmp_path}"]), "file/below", "SOME_KEY")
    with pytest.raises(UserError, match="SOME_KEY"):
        writable_folder(load_config([f"WORK_DIR={tmp_path}"]), "file/below", "SOME_KEY")
