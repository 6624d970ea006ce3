"""Weights of other programs in MODEL.INIT: the networks here compute what theirs do (`references/make_foreign.py`)."""

import re

import keras
import numpy as np
import pytest
from drawn_helpers import SIDE, drawn_images, sample
from foreign_helpers import FILES, drawn_layout, kept, write_keras2, write_safetensors, write_torch
from helpers import assert_one_clear_error, run_command

from models import build_model
from utils.base.errors import UserError
from utils.checkpoints.foreign.__main__ import main
from utils.checkpoints.foreign.convert import build_foreign, overrides_of, read_foreign
from utils.checkpoints.saved_config import restore_config
from utils.checkpoints.start_weights import class_places, complete_classes, find_start, start_with
from utils.checkpoints.weights import load_weights
from utils.config import load_config

# Their parts occur in others, but for bottlenecks and odd sizes.
SLOW = {"unet_resnet50", "unet_efficientnetb2", "sm_unet_mobilenetv2", "sm_unet_efficientnetb0", "unet3plus_deepsup"}
SLOW |= {"unet3plus", "unet_resnet18", "sm_unet_resnet50"}


def names():
    for path in FILES:
        with np.load(path) as file:
            for name in sorted({key.partition("/")[0] for key in file}):
                yield pytest.param(name, path.stem, marks=[pytest.mark.slow] if name in SLOW else [])


def logits(network):
    model = keras.Model(network.input, network.get_layer("mask_logits").output)
    return keras.ops.convert_to_numpy(model(drawn_images(network.input.shape[-1])))


@pytest.mark.parametrize(("name", "file"), names())
def test_outputs_are_those_of_the_original(name, file, tmp_path):
    ending = "h5" if file == "foreign_keras" else "pt" if name.startswith("m") else "safetensors"
    path = tmp_path / f"weights.{ending}"
    {"h5": write_keras2, "pt": write_torch, "safetensors": write_safetensors}[ending](path, drawn_layout(name))
    network = build_foreign(read_foreign(path), path)
    expected = kept(f"{name}/logits")
    np.testing.assert_allclose(sample(logits(network)), expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    if name.endswith("cgm"):
        assert (network(drawn_images(3))["presence"] > 0.5) == kept(f"{name}/presence")


SIZE = [f"INPUT.HEIGHT={SIDE}", f"INPUT.WIDTH={SIDE}"]


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """Weights of a small network, in a wrapper; its settings here."""
    path = tmp_path_factory.mktemp("brain") / "brain.safetensors"
    write_safetensors(path, {f"module.{name}": array for name, array in drawn_layout("mateuszbuda").items()})
    return path, [*overrides_of(read_foreign(path)), *SIZE]


def start(path, overrides):
    cfg = load_config([*overrides, f"MODEL.INIT={path}"])
    network = build_model(cfg)
    return network, start_with(network, cfg, find_start(cfg))


def test_a_network_of_the_same_settings_takes_all(brain):
    network, taken = start(*brain)
    assert not taken.adapted and not taken.left and not taken.settings
    expected = kept("mateuszbuda/logits")
    np.testing.assert_allclose(sample(logits(network)), expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_other_classes_channels_and_settings_are_said(brain):
    path, settings = brain
    changed = ["INPUT.CHANNELS=1", "OUTPUT.CLASSES=3", "MODEL.DECODER.NORM_EPSILON=1e-3"]
    _, taken = start(path, [*settings, *changed])
    head = dict.fromkeys(("mask_logits/kernel", "mask_logits/bias"), "1 of 3 classes by name")
    assert taken.adapted == {"encoder1_1_conv/kernel": "3 -> 1 channels", **head} and not taken.left
    assert taken.lines()[-1] == "built there with MODEL.DECODER.NORM_EPSILON=1e-05"


def test_weights_that_do_not_say_whether_classes_overlap_keep_their_head(tmp_path):
    source, target = load_config(["OUTPUT.CLASSES=3"]), load_config(["OUTPUT.CLASSES=3", "OUTPUT.MULTI_LABEL=True"])
    assert class_places(source, target) is not None
    complete_classes(source, target, tmp_path / "weights.pt")
    assert class_places(source, target) is None


def test_channels_of_a_network_that_normalises_its_image(tmp_path):
    path = tmp_path / "resnet.h5"
    write_keras2(path, drawn_layout("sm_unet_resnet18"))
    foreign = read_foreign(path)
    network, taken = start(path, [*overrides_of(foreign), *SIZE, "INPUT.CHANNELS=4"])
    norm = [f"bn_data/{name}" for name in ("beta", "moving_mean", "moving_variance")]
    assert set(taken.adapted) == {*norm, "conv0/kernel"} and not taken.left
    grey = np.random.default_rng(3).random((1, SIDE, SIDE, 1), dtype=np.float32)
    ours, theirs = (
        model(np.repeat(grey, model.input.shape[-1], axis=-1))["mask"]
        for model in (network, build_foreign(foreign, path))
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def changed(name, change):
    arrays = drawn_layout(name)
    change(arrays)
    return arrays


def smaller(arrays):
    arrays["bottleneck.bottleneckconv2.weight"] = arrays["bottleneck.bottleneckconv2.weight"][:, :-1]


def narrower(arrays):
    arrays["up3.conv.double_conv.0.weight"] = arrays["up3.conv.double_conv.0.weight"][:-1]


def renamed(old, new):
    def change(arrays):
        for name in [name for name in arrays if re.match(old, name)]:
            arrays[re.sub(old, new, name)] = arrays.pop(name)

    return change


def without_last(arrays):
    """Of UNet 3+ the last head."""
    last = max(
        (name.partition("/")[0] for name in arrays if name.startswith("conv2d_")), key=lambda name: int(name[7:])
    )
    renamed(f"{last}/.*", "gone")(arrays)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("mateuszbuda", lambda arrays: arrays.pop("conv.bias"), "conv.bias is missing"),
        ("mateuszbuda", lambda arrays: arrays.pop("conv.weight"), "not whole.* 'conv.weight'"),
        ("mateuszbuda", smaller, r"bottleneckconv2.weight is 3x3x63x64 .*, not 3x3x64x64"),
        ("mateuszbuda", lambda arrays: arrays.update({"se.weight": np.zeros(3, "f4")}), "variant .* se.weight first"),
        (
            "milesial",
            renamed(r"up(\d)\.up\.", r"gone\1."),
            r"up4.conv.double_conv.0.weight is 3x3x8x4 .*, not 3x3x10x4",
        ),
        ("milesial_bilinear", renamed(r"up2\.conv\.double_conv\.3\.", "gone."), "not whole.*up2.conv.double_conv.3.w"),
        ("milesial_bilinear", narrower, r"up3.conv.double_conv.0.weight is 3x3x16x7 .*, not 3x3x16x8"),
        ("unetplusplus_vgg16_bn", renamed(r"decoder\.center\.", "decoder.middle."), "variant .* decoder.middle.0"),
        ("unet_vgg16_bn", renamed(r"encoder\.features\.4[01]\.", "gone."), "VGG has 12 convolutions; only vgg16 and"),
        (
            "unet_vgg16_bn",
            lambda arrays: arrays.pop("encoder.features.4.running_var"),
            "not whole.*features.4.running_v",
        ),
        ("unet_vgg16", renamed(r"decoder\.center\.", "decoder.blocks.0.attention1."), "has attention"),
        ("unet_mobilenetv2", renamed(r"encoder\.features", "encoder.stages"), "encoder is not among those"),
        ("unet_resnet18", renamed(r"encoder\.layer4\.1\.", "encoder.layer4.2."), None),
        ("unet_resnet18", renamed(r"encoder\.layer4\.1\..*", "gone"), "no ResNet that is built here"),
        ("unet_resnet18", lambda arrays: arrays.update({"encoder.conv1.weight": np.zeros(3, "f4")}), "other axes"),
    ],
)
def test_what_does_not_fit_is_named(name, change, words, tmp_path):
    write_safetensors(tmp_path / "a.safetensors", changed(name, change))
    with pytest.raises(UserError, match=words) as refused:
        build_foreign(read_foreign(tmp_path / "a.safetensors"), tmp_path / "a.safetensors")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("unet3plus_deepsup_cgm", without_last, "has 39 convolutions .* no variant"),
        ("sm_unet_mobilenetv2", renamed("expanded_conv_project", "gone"), "among .*: VGG, ResNet, MobileNetV2, Eff"),
        ("sm_unet_resnet18", renamed("stage1_unit1_bn1", "stage1_unit1_se1"), "none of resnet18, .*squeeze-and-exc"),
        ("sm_unet_resnet18", renamed("stage4_unit2_.*", "gone"), "none of resnet18, resnet34"),
        ("sm_unet_mobilenetv2_transpose", renamed(r"decoder_stage0b_bn/.*", "gone"), "transposed convolutions without"),
    ],
)
def test_what_does_not_fit_of_keras_is_named(name, change, words, tmp_path):
    arrays = drawn_layout(name)
    change(arrays)
    write_keras2(tmp_path / "a.h5", arrays)
    with pytest.raises(UserError, match=words):
        read_foreign(tmp_path / "a.h5")


def test_a_whole_model_of_keras_2_is_read_without_its_code(tmp_path):
    arrays = drawn_layout("unet3plus")
    write_keras2(tmp_path / "a.hdf5", arrays, group="model_weights")
    assert len(read_foreign(tmp_path / "a.hdf5").arrays) == len(arrays)


def test_train_refuses_a_program_before_it_loads_tensorflow(tmp_path):
    write_torch(tmp_path / "a.pt", {}, b"\x80\x02cos\nsystem\n.")
    done = run_command("train.py", f"WORK_DIR={tmp_path}", f"MODEL.INIT={tmp_path / 'a.pt'}")
    assert_one_clear_error(done, "it asks for os.system")
    assert "loading TensorFlow" not in done.stderr


def test_the_command_makes_a_run_of_them(brain, tmp_path, capsys):
    path, settings = brain
    main([str(path)])
    said = capsys.readouterr().out.replace("'", "")
    assert "mateuszbuda/brain-segmentation-pytorch" in said and " ".join(settings[: -len(SIZE)]) in said
    main([str(path), str(tmp_path / "made/brain")])
    place = [f"WORK_DIR={tmp_path}", "CALLBACKS.MODEL_CHECKPOINT.PATH=made", "MODEL.WEIGHTS_FILE_NAME=brain"]
    cfg = restore_config(load_config(place))
    network = build_model(cfg, any_size=True)
    load_weights(network, cfg)
    expected = kept("mateuszbuda/logits")
    np.testing.assert_allclose(sample(logits(network)), expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    for arguments, words in (
        ([str(path), str(tmp_path / "made/brain")], "is there already"),
        ([str(tmp_path / "no.pt")], "There is no"),
        ([str(FILES[0])], r"end in \.safetensors, \.pt, \.pth, \.h5, \.hdf5"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2 and re.search(words, capsys.readouterr().err)
