"""Every encoder gives maps of the strides it claims, frozen means frozen, and weights go in and out."""

import math

import keras
import numpy as np
import pytest

from models import ENCODERS, build_model, inference_model, model_settings
from models.encoders import pretrained
from models.encoders.backbones import BACKBONES
from models.encoders.deepest import encoder_features
from models.layers.blocks import BlockSettings
from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.config import load_config


def encode(cfg, image):
    settings, _ = model_settings(cfg)
    encoder = load_object(ENCODERS[settings.BACKBONE.TYPE])
    return encoder(image, settings, BlockSettings.from_settings(settings), settings.BACKBONE.WEIGHTS)


@pytest.mark.parametrize("size", [pytest.param((64, 96), marks=pytest.mark.slow), (65, 97), (None, None)])
@pytest.mark.parametrize(
    "name",
    ["unet3plus", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50", "preresnet18", "mobilenetv2", "efficientnetb0"],
)
def test_strides_are_what_they_claim(name, size):
    cfg = load_config([f"MODEL.BACKBONE.TYPE={name}", "MODEL.FILTERS=[4,4,4,4,4]"])
    image = keras.Input((*size, 3))
    features, down = encode(cfg, image)
    assert list(features) == ([1, 2, 4, 8, 16] if name in ("unet3plus", "vgg16", "vgg19") else [2, 4, 8, 16, 32])
    assert down == features
    for stride, feature in features.items():
        for side, whole in zip(feature.shape[1:3], size, strict=True):
            # Pooling in VGG rounds down, strided convolutions and our own pooling round up.
            assert whole is None or side in (whole // stride, math.ceil(whole / stride))


# Building the others takes as much again for each.
SEEN = ("efficientnetb1", "efficientnetb4", "resnet101")
LARGER = [f"efficientnetb{size}" for size in range(1, 8)] + ["resnet101", "resnet152"]
LARGER += [f"preresnet{depth}" for depth in (34, 50, 101, 152)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SEEN else [pytest.mark.slow]) for name in LARGER]
)
def test_larger_backbones_have_the_same_strides(name):
    features, _ = encode(load_config([f"MODEL.BACKBONE.TYPE={name}"]), keras.Input((64, 64, 3)))
    assert {stride: feature.shape[1] for stride, feature in features.items()} == {2: 32, 4: 16, 8: 8, 16: 4, 32: 2}


@pytest.mark.parametrize("channels", [1, pytest.param(2, marks=pytest.mark.slow), 5])
def test_any_number_of_channels_without_weights(channels):
    model = build_model(
        load_config(
            [
                "MODEL.TYPE=unet",
                "MODEL.BACKBONE.TYPE=resnet50",
                f"INPUT.CHANNELS={channels}",
                "INPUT.HEIGHT=64",
                "INPUT.WIDTH=64",
            ]
        )
    )
    assert model(np.zeros((1, 64, 64, channels), np.float32))["mask"].shape == (1, 64, 64, 2)


SMALL = [
    "MODEL.TYPE=unet",
    "MODEL.BACKBONE.TYPE=mobilenetv2",
    "INPUT.HEIGHT=32",
    "INPUT.WIDTH=32",
    "MODEL.DECODER.FILTERS=[8,8,8,8]",
]


@pytest.fixture(scope="module")
def backbone_weights(tmp_path_factory):
    """Weights of a MobileNetV2 without its classifier, in the format of Keras 3."""
    path = tmp_path_factory.mktemp("weights") / "mobilenetv2.weights.h5"
    keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(path)
    return path


def test_a_frozen_backbone_runs_in_inference_mode(backbone_weights):
    model = build_model(load_config([*SMALL, "MODEL.BACKBONE.TRAINABLE=False"]))
    encoder = model.get_layer("encoder")
    assert not encoder.trainable_variables
    before = [np.array(v) for v in encoder.variables]
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss={"mask": "mse"}, run_eagerly=True)
    images = np.random.default_rng(0).random((4, 32, 32, 3), dtype=np.float32)
    model.fit(images, {"mask": np.zeros((4, 32, 32, 2))}, verbose=0)
    for old, new in zip(before, encoder.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    trained = build_model(load_config(SMALL)).get_layer("encoder")
    assert trained.trainable_variables


def test_a_trained_backbone_averages_as_the_config_says():
    """MobileNetV2 comes with 0.999, with which 150 steps left validation with the statistics of ImageNet."""

    def momenta(*overrides):
        encoder = build_model(load_config([*SMALL, *overrides])).get_layer("encoder")
        return {layer.momentum for layer in encoder.layers if isinstance(layer, keras.layers.BatchNormalization)}

    assert momenta() == {0.9}
    assert momenta("MODEL.BACKBONE.NORM_MOMENTUM=null") == {0.999}


def test_the_swish_of_efficientnet_keeps_no_sigmoid():
    """Keras's computes it again for the gradient; the efficientnet package multiplies, which keeps it."""
    model = build_model(load_config([*SMALL, "MODEL.BACKBONE.TYPE=efficientnetb0"]))
    activations = [getattr(layer, "activation", None) for layer in model.get_layer("encoder").layers]
    assert activations.count(keras.activations.silu) == 49
    assert not [found for found in activations if getattr(found, "__module__", "").startswith("efficientnet")]


@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnetb0", "resnet50"])
def test_frozen_features_do_not_depend_on_training_mode(name):
    model = build_model(
        load_config([*SMALL[2:4], "MODEL.TYPE=unet", f"MODEL.BACKBONE.TYPE={name}", "MODEL.BACKBONE.TRAINABLE=False"])
    )
    images = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    # The concatenation at stride 16 takes in a skip of the encoder beside an upsampled map of its bottleneck.
    skip = model.get_layer("decoder16_concat").input[1]
    probe = keras.Model(model.input, skip)
    np.testing.assert_array_equal(probe(images, training=True), probe(images, training=False))


def test_weights_from_a_file(backbone_weights):
    model = build_model(load_config([*SMALL, f"MODEL.BACKBONE.WEIGHTS={backbone_weights}"]))
    reference = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    reference.load_weights(backbone_weights)
    for name in ("Conv1", "block_1_expand", "block_16_project"):
        ours = model.get_layer("encoder").get_layer(name).kernel
        np.testing.assert_array_equal(ours, reference.get_layer(name).kernel)


def test_pixels_are_scaled_to_what_the_weights_expect(backbone_weights):
    model = build_model(load_config([*SMALL, f"MODEL.BACKBONE.WEIGHTS={backbone_weights}"]))
    scaled = keras.Model(model.input, model.get_layer("expected_pixels").output)
    images = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    expected = keras.applications.mobilenet_v2.preprocess_input(images * 255)
    np.testing.assert_allclose(scaled(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    "name, channels", [("mobilenetv2", 1), ("mobilenetv2", 2), ("mobilenetv2", 5), ("vgg16", 4), ("preresnet18", 4)]
)
def test_a_grey_image_in_every_channel_gives_the_activations_of_rgb(name, channels, tmp_path):
    """VGG-16 expects BGR, each with a mean of its own; a pre-activation ResNet has a normalisation of its image."""
    path = tmp_path / "published.weights.h5"
    published = load_object(BACKBONES[name].build)(include_top=False, weights=None, input_shape=(32, 32, 3))
    for variable in published.weights:
        if len(variable.shape) == 1:
            variable.assign(np.random.default_rng(1).uniform(0.5, 1.5, variable.shape))
    published.save_weights(path)
    settings = [*SMALL, f"MODEL.BACKBONE.TYPE={name}", f"MODEL.BACKBONE.WEIGHTS={path}"]
    grey = np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)

    def activations(channels):
        model = build_model(load_config([*settings, f"INPUT.CHANNELS={channels}"]))
        pixels = keras.Model(model.input, model.get_layer("expected_pixels").output)
        maps = model.get_layer("encoder")(pixels(np.repeat(grey, channels, axis=-1)))
        return [keras.ops.convert_to_numpy(each) for each in maps]

    for ours, published in zip(activations(channels), activations(3), strict=True):
        np.testing.assert_allclose(ours, published, rtol=1e-4, atol=1e-4 * np.abs(published).max())


@pytest.mark.parametrize("name, module", [("vgg16", "vgg16"), ("resnet50", "resnet50")])
def test_caffe_pixels(name, module):
    from models.encoders.pretrained import expected_pixels

    images = np.random.default_rng(0).random((1, 8, 8, 3), dtype=np.float32)
    image = keras.Input((8, 8, 3))
    scaled = keras.Model(image, expected_pixels(image, BACKBONES[name].pixels))
    expected = getattr(keras.applications, module).preprocess_input(images * 255)
    np.testing.assert_allclose(scaled(images), expected, atol=1e-3)


def test_one_channel_is_repeated_for_pretrained_weights(backbone_weights):
    cfg = load_config([*SMALL, f"MODEL.BACKBONE.WEIGHTS={backbone_weights}", "INPUT.CHANNELS=1"])
    assert build_model(cfg)(np.zeros((1, 32, 32, 1), np.float32))["mask"].shape == (1, 32, 32, 2)


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["MODEL.BACKBONE.WEIGHTS=/no/such/file.h5"], ["/no/such/file.h5", "imagenet"]),
        (["MODEL.BACKBONE.WEIGHTS=noisy-student"], ["noisy-student", "imagenet"]),
        (["INPUT.HEIGHT=16"], ["INPUT.HEIGHT=16", "at least 32"]),
        (["MODEL.BACKBONE.SKIP_LAYERS=[a,b,c,d,e]"], ["no layer a", "block_1_expand_relu"]),
        (
            ["MODEL.BACKBONE.SKIP_LAYERS=[block_3_expand_relu,block_3_expand_relu,block_6_expand_relu,"
             "block_13_expand_relu,block_16_project]"],
            ["block_3_expand_relu", "stride 2"],
        ),
    ],
)  # fmt: skip
def test_bad_choices_are_explained(overrides, words):
    with pytest.raises(UserError) as error:
        build_model(load_config([*SMALL, *overrides]))
    for word in words:
        assert word in str(error.value)


def test_weights_of_another_backbone_are_refused(tmp_path):
    path = tmp_path / "vgg.weights.h5"
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3)]).save_weights(path)
    with pytest.raises(UserError, match="does not fit mobilenetv2"):
        build_model(load_config([*SMALL, f"MODEL.BACKBONE.WEIGHTS={path}"]))


def test_without_network_the_message_says_where_weights_go(monkeypatch):
    def offline(*arguments, **keywords):
        raise OSError("no network")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    monkeypatch.setattr("keras.src.applications.mobilenet_v2.file_utils.get_file", offline)
    with pytest.raises(UserError, match=r"MODEL.BACKBONE.WEIGHTS=/path/to"):
        build_model(load_config([*SMALL, "MODEL.BACKBONE.WEIGHTS=imagenet"]))


def test_trained_weights_need_no_pretrained_file_any_more(backbone_weights, tmp_path):
    copy = tmp_path / "backbone.weights.h5"
    copy.write_bytes(backbone_weights.read_bytes())
    cfg = load_config([f"WORK_DIR={tmp_path}", *SMALL, "MODEL.BACKBONE.WEIGHTS=backbone.weights.h5"])
    model = build_model(cfg)
    model.save_weights(tmp_path / "a.weights.h5")
    copy.unlink()
    with pytest.raises(UserError, match="neither a file"):
        build_model(cfg)
    again = build_model(cfg, pretrained=False)
    again.load_weights(tmp_path / "a.weights.h5")
    images = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    np.testing.assert_array_equal(again(images)["mask"], model(images)["mask"])


@pytest.mark.parametrize(
    "name", ["mobilenetv2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "efficientnetb2"))]
)
def test_the_variant_of_pytorch_has_the_same_weights_and_maps_and_is_another_network(name):
    overrides = [*SMALL, f"MODEL.BACKBONE.TYPE={name}", "INPUT.HEIGHT=64", "INPUT.WIDTH=64"]
    ours, theirs = (
        build_model(load_config([*overrides, f"MODEL.BACKBONE.VARIANT={variant}"])) for variant in ("keras", "pytorch")
    )
    values = {variable.path: variable for variable in ours.weights}
    for variable in theirs.weights:
        variable.assign(values[variable.path])
    image = np.random.default_rng(0).random((1, 64, 64, theirs.input.shape[-1]), np.float32)
    found = theirs(image)["mask"]
    assert np.abs(found - ours(image)["mask"]).max() > 1e-5
    copy = keras.Model.from_config(theirs.get_config())  # as a `.keras` file has it
    copy.set_weights(theirs.get_weights())
    np.testing.assert_array_equal(copy(image)["mask"], found)
    fused = inference_model(theirs, fuse_batch_norm=True)
    np.testing.assert_allclose(fused(image), found, atol=1e-5)


def test_skips_of_other_strides_and_a_center():
    """As the U-Net on VGG of other programs: no skip of stride 1, a bottleneck after the last pooling."""
    skips = "[block2_conv2,block3_conv3,block4_conv3,block5_conv3,block5_pool]"
    overrides = [*SMALL, "MODEL.BACKBONE.TYPE=vgg16", f"MODEL.BACKBONE.SKIP_LAYERS={skips}", "MODEL.TYPE=unet"]
    for size in ((64, 64), (None, None)):
        features, _ = encode(load_config(overrides), keras.Input((*size, 3)))
        assert list(features) == [2, 4, 8, 16, 32]
    model = build_model(load_config([*overrides, "MODEL.DECODER.FILTERS=null", "MODEL.DECODER.CENTER_CONVS=2"]))
    center = model.get_layer("decoder32_2_conv")
    assert center.kernel.shape == (3, 3, 512, 512) and center.output.shape[1:3] == (1, 1)
    assert encoder_features(model).output_shape == (None, 512)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["MODEL.BACKBONE.VARIANT=pytorch", "MODEL.BACKBONE.WEIGHTS=imagenet"], "another network than that of the"),
        (["MODEL.BACKBONE.SKIP_LAYERS=[a]"], "needs a skip and the bottleneck"),
        (["MODEL.BACKBONE.TYPE=unet3plus", "MODEL.BACKBONE.VARIANT=pytorch"], "VARIANT needs an ImageNet backbone"),
        (["MODEL.BACKBONE.TYPE=resnet18", "MODEL.BACKBONE.WEIGHTS=imagenet"], "neither a file nor one of: null"),
        (["MODEL.TYPE=unet++", "MODEL.DECODER.CENTER_CONVS=2"], "CENTER_CONVS=2 is for MODEL.TYPE=unet"),
        (["MODEL.TYPE=unet", "MODEL.DECODER.INNER_FILTERS=encoder"], "INNER_FILTERS=encoder is for MODEL.TYPE=unet"),
        (["MODEL.TYPE=unet3plus", "MODEL.DECODER.MID_FILTERS=half"], "MID_FILTERS=half is for MODEL.TYPE=unet and"),
        (["MODEL.DECODER.CONVS=1", "MODEL.DECODER.MID_FILTERS=half"], "with MODEL.DECODER.CONVS of 2"),
        (["MODEL.BACKBONE.TYPE=preresnet18", "MODEL.BACKBONE.WEIGHTS=imagenet"], "one of: null\\."),
    ],
)
def test_settings_without_a_meaning_are_refused(overrides, words):
    with pytest.raises(UserError, match=words):
        build_model(load_config([*SMALL, *overrides]))


@pytest.mark.parametrize("kind, size", [("mobilenetv2", 64), ("efficientnetb0", 64), ("resnet50", 64), ("vgg16", 256)])
def test_faster_layers_compute_what_the_published_network_does(kind, size):
    """The last maps and the gradients of all weights, in training. Of VGG at 256, three convolutions are Winograd's."""
    tf = pytest.importorskip("tensorflow")
    build = load_object(BACKBONES[kind].build)
    plain, ours = (smooth(build(include_top=False, weights=None, input_shape=(size, size, 3))) for _ in range(2))
    ours.set_weights(plain.get_weights())
    pretrained.fuse_normalisation(ours)
    pretrained.speed_up_convolutions(ours)
    pretrained.save_memory_of_swish(ours)
    assert {type(layer).__module__ for layer in ours.layers} >= {"models.layers.convolution"}
    images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
    found = []
    for network in (plain, ours):
        with tf.GradientTape() as tape:
            maps = network(images, training=True)
            loss = tf.reduce_mean(tf.sin(maps))
        found.append((maps, tape.gradient(loss, [weight.value for weight in network.trainable_weights])))
    (expected, expected_gradients), (maps, gradients) = found
    np.testing.assert_allclose(maps, expected, atol=1e-4 * float(tf.reduce_max(tf.abs(expected))))
    errors = [value - other for value, other in zip(gradients, expected_gradients, strict=True)]
    assert float(tf.linalg.global_norm(errors)) < 5e-4 * float(tf.linalg.global_norm(expected_gradients))


def smooth(network):
    """Swish in place of ReLU, where rounding of a value near 0 would decide about its gradient; nothing is dropped."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.ReLU):
            layer.call = keras.activations.silu
        elif getattr(getattr(layer, "activation", None), "__name__", None) == "relu":
            layer.activation = keras.activations.silu
        elif isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return network
