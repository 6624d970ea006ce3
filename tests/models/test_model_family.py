"""Every decoder on every family of encoders, the parameter counts of known systems, and other backends."""

import cv2
import keras
import numpy as np
import pytest
from helpers import PROJECT, UNOPTIMISED, run_command

from models import DECODERS, ENCODERS, MODEL_TYPES, build_model, inference_model, valid_output_size
from models.cost import count_flops
from utils.base.errors import UserError
from utils.config import load_config

TRANSPOSE = [
    "MODEL.DECODER.UPSAMPLE_KERNEL=4",
    "MODEL.DECODER.UPSAMPLE_NORM=True",
    "MODEL.DECODER.CONVS=1",
    "OUTPUT.CLASSES=1",
]
NEAREST = ["MODEL.DECODER.UPSAMPLE=nearest", "OUTPUT.CLASSES=1"]
KIT_ROWS = ["MODEL.DECODER.FILTERS=[16,256,128,64,32]"]
PETS = ["INPUT.HEIGHT=128", "INPUT.WIDTH=128", "OUTPUT.CLASSES=3"]
CONCAT_ONLY = [
    "MODEL.DECODER.UPSAMPLE_KERNEL=3",
    "MODEL.DECODER.UPSAMPLE_NORM=True",
    "MODEL.DECODER.CONVS=0",
    "MODEL.HEAD.TRANSPOSE=True",
]
# The UNet 3+ authors' PyTorch code: 4x4 transposed convolutions, no normalisation in the decoder, one class.
AUTHORS = ["MODEL.CONV_BIAS=True", "MODEL.DECODER.UPSAMPLE_KERNEL=4", "MODEL.DECODER.NORM=encoder", "OUTPUT.CLASSES=1"]
UNETPP = ["+experiment=tpu_unetpp", "MODEL.BACKBONE.WEIGHTS=null"]
ON_B0 = ["MODEL.BACKBONE.TYPE=efficientnetb0"]
DOWN = "[block2b_expand_activation,block3b_expand_activation,block5a_expand_activation]"


def choose(decoder, encoder):
    return [f"MODEL.TYPE={decoder}", f"MODEL.BACKBONE.TYPE={encoder}"]


@pytest.mark.parametrize(
    "overrides, total, trainable",
    [
        (choose("unet", "efficientnetb0") + TRANSPOSE, 12_713_901, 12_669_901),
        (choose("unet", "efficientnetb0") + NEAREST, 10_115_501, 10_071_501),
        pytest.param(choose("unet", "efficientnetb4") + TRANSPOSE, 29_250_921, 29_123_737, marks=pytest.mark.slow),
        (choose("unet", "resnet50") + TRANSPOSE, 36_577_425, 36_522_321),
        (choose("unet", "resnet50") + NEAREST, 32_602_769, 32_547_665),
        pytest.param(choose("unet", "resnet101") + TRANSPOSE, 55_647_889, 55_540_561, marks=pytest.mark.slow),
        (UNETPP, 37_740_321, 37_682_401),
        (choose("unet++", "resnet50") + NEAREST + KIT_ROWS, 34_428_705, 34_370_785),
        (UNETPP + ON_B0 + [f"MODEL.BACKBONE.DOWN_LAYERS={DOWN}"], 13_488_189, None),
        (UNETPP + ON_B0 + ["MODEL.BACKBONE.DOWN_LAYERS=null"], 14_274_621, 14_227_805),
        # 1,942,577 is counted in PyTorch, where running statistics are no parameters: our trainable ones.
        (["MODEL.TYPE=unet", "MODEL.FILTERS=[16,32,64,128,256]", "MODEL.HEAD.KERNEL=1", "OUTPUT.CLASSES=1"],
         1_942_577 + 2_944, 1_942_577),
        (["MODEL.TYPE=conv_deconv", *PETS], 62_243, 62_243),
        (["MODEL.TYPE=unet", *AUTHORS], 39_396_033 + 7_936, 39_396_033),
        (["MODEL.TYPE=unet++", *AUTHORS, "MODEL.HEAD.KERNEL=1", "MODEL.DEEP_SUPERVISION=True"],
         47_176_132 + 7_936, 47_176_132),
        (choose("unet", "mobilenetv2") + PETS + CONCAT_ONLY
         + ["MODEL.BACKBONE.TRAINABLE=False", "MODEL.DECODER.FILTERS=[512,256,128,64]"], 6_504_227, 4_660_323),
    ],
)  # fmt: skip
def test_parameter_counts_of_known_systems(overrides, total, trainable):
    model = build_model(load_config(overrides))
    assert model.count_params() == total
    if trainable is not None:
        assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == trainable


def test_shapes_of_the_mapping_unet():
    swish = ["MODEL.DECODER.ACTIVATION=swish", "MODEL.DECODER.DROPOUT=0.2", "MODEL.DECODER.FILTERS=[1024,512,256,128]"]
    size = ["INPUT.HEIGHT=300", "INPUT.WIDTH=300", "OUTPUT.CLASSES=1"]
    model = build_model(load_config(choose("unet", "efficientnetb4") + CONCAT_ONLY + swish + size))
    encoder = [tuple(x.shape[1:]) for x in model.get_layer("encoder").outputs]
    assert encoder == [(150, 150, 144), (75, 75, 192), (38, 38, 336), (19, 19, 960), (10, 10, 1792)]
    stages = [tuple(model.get_layer(f"decoder{stride}_concat").output.shape[1:]) for stride in (16, 8, 4, 2)]
    assert stages == [(19, 19, 1984), (38, 38, 848), (75, 75, 448), (150, 150, 272)]
    assert model.output["mask"].shape == (None, 300, 300, 1)
    names = [layer.name for layer in model.layers if layer.name.startswith("decoder16")]
    assert names == [
        f"decoder16_{part}"
        for part in ("upsample", "upsample_norm", "upsample_dropout", "upsample_swish", "match", "concat")
    ]


FAMILIES = ["unet3plus", "vgg16", "resnet50", "mobilenetv2", "efficientnetb0"]
NARROW = [
    "MODEL.FILTERS=[4,4,6,6,8]",
    "INPUT.HEIGHT=33",
    "INPUT.WIDTH=40",
    "MODEL.DEEP_SUPERVISION=True",
    "MODEL.CGM=True",
    "OUTPUT.CLASSES=3",
]


# All families are seen by `unet`, and one of each kind by the other decoders: strides 1 to 16, and 2 to 32.
OF_EACH_KIND = ("unet3plus", "mobilenetv2")


@pytest.mark.parametrize(
    "decoder, encoder",
    [
        pytest.param(decoder, encoder, marks=[] if decoder == "unet" or encoder in OF_EACH_KIND else [pytest.mark.slow])
        for decoder in DECODERS
        if decoder != "conv_deconv"
        for encoder in FAMILIES
    ],
)
def test_every_pair_trains_predicts_and_reloads(decoder, encoder, tmp_path):
    """With deep supervision and CGM, at a size that no stride divides."""
    stages = 4 if encoder in ("unet3plus", "vgg16") else 5
    cfg = load_config([*choose(decoder, encoder), *NARROW, f"MODEL.DECODER.FILTERS={[8, 6, 6, 4, 4][:stages]}"])
    model = build_model(cfg)
    images = np.random.default_rng(0).random((2, 33, 40, 3), dtype=np.float32)
    masks = {name for name in model.output if name != "presence"}
    assert len(masks) >= 4
    assert {tuple(model.output[name].shape) for name in masks} == {(None, 33, 40, 3)}
    targets = {name: np.zeros((2, *shape.shape[1:]), np.float32) for name, shape in model.output.items()}
    model.compile(optimizer="sgd", loss=dict.fromkeys(model.output, "mse"), run_eagerly=True)  # tracing takes longer
    before = [np.array(v) for v in model.trainable_variables[:1]]
    loss = model.train_on_batch(images, targets)
    assert np.isfinite(loss if np.isscalar(loss) else loss[0])
    assert not np.array_equal(before[0], model.trainable_variables[0])

    model.save_weights(tmp_path / "a.weights.h5")
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = build_model(cfg)
    mixed.load_weights(tmp_path / "a.weights.h5")
    for saved, loaded in zip(model.weights, mixed.weights, strict=True):
        np.testing.assert_array_equal(saved, loaded)
    probabilities = keras.ops.convert_to_numpy(inference_model(mixed)(images))
    assert probabilities.dtype == np.float32 and np.isfinite(probabilities).all()


@pytest.mark.parametrize(
    "decoder, encoder, height, width",
    [("unet3plus", "unet3plus", 33, 47), ("unet", "vgg16", 64, 32), ("unet++", "resnet50", 33, 47)],
)
def test_one_model_for_any_size(decoder, encoder, height, width):
    sizes = ["INPUT.HEIGHT=null", "INPUT.WIDTH=null", "HYPER_PARAMETERS.BATCH_SIZE=1", "MODEL.FILTERS=[4,4,4,4,4]"]
    common = [*choose(decoder, encoder), "MODEL.DECODER.FILTERS=[4,4,4,4]", "MODEL.DEEP_SUPERVISION=True"]
    model = build_model(load_config([*common, *sizes]))
    fixed = build_model(
        load_config([*common, f"INPUT.HEIGHT={height}", f"INPUT.WIDTH={width}", "MODEL.FILTERS=[4,4,4,4,4]"])
    )
    fixed.set_weights(model.get_weights())
    images = np.random.default_rng(0).random((1, height, width, 3), dtype=np.float32)
    np.testing.assert_allclose(inference_model(model)(images), inference_model(fixed)(images), atol=1e-5)


def test_pruning_unetplusplus_gives_the_supervised_mask_with_fewer_layers():
    model = build_model(load_config(["MODEL.TYPE=unet++", *NARROW]))
    images = np.random.default_rng(0).random((1, 33, 40, 3), dtype=np.float32)
    sizes = []
    for depth in (1, 2, 3, 4):
        pruned = inference_model(model, prune=depth)
        name = "mask" if depth == 4 else f"mask_depth{depth}"
        np.testing.assert_array_equal(pruned(images), model(images)[name])
        sizes.append(len(pruned.layers))
    assert sizes == sorted(set(sizes))
    with pytest.raises(UserError, match="depths 1 to 4"):
        inference_model(model, prune=5)
    with pytest.raises(UserError, match="DEEP_SUPERVISION"):
        inference_model(build_model(load_config(["MODEL.TYPE=unet", *NARROW[:3]])), prune=2)


def test_the_unpadded_unet_of_2015():
    cfg = load_config(["MODEL.TYPE=unet", "MODEL.PADDING=valid", "INPUT.HEIGHT=572", "INPUT.WIDTH=572",
                       "INPUT.CHANNELS=1", "MODEL.DECODER.NORM=False", "MODEL.HEAD.KERNEL=1"])  # fmt: skip
    model = build_model(cfg)
    assert model.output["mask"].shape == (None, 388, 388, 2)
    # Counted layer by layer from figure 1 of the paper, with a bias for every convolution.
    assert model.count_params() == 31_030_658
    assert valid_output_size(572, 5) == 388 and valid_output_size(570, 5) is None


def test_sizes_that_do_not_fit_the_unpadded_unet_are_explained():
    with pytest.raises(UserError, match=r"INPUT.HEIGHT=570.*572"):
        load_config(["MODEL.TYPE=unet", "MODEL.PADDING=valid", "INPUT.HEIGHT=570", "INPUT.WIDTH=572"])
    with pytest.raises(UserError, match=r"MODEL\.TYPE=unet"):
        load_config(["MODEL.TYPE=unet3plus", "MODEL.PADDING=valid"])


def test_the_loss_of_an_unpadded_network_sees_the_centre():
    from losses import build_loss, build_metrics

    cfg = load_config(["loss=dice"])
    mask = np.zeros((1, 12, 12, 1), np.uint8)
    mask[:, 4:8, 4:8] = 1
    prediction = np.stack([1 - mask[:, 2:10, 2:10, 0], mask[:, 2:10, 2:10, 0]], -1).astype(np.float32)
    assert float(build_loss(cfg)(mask, prediction)) == pytest.approx(0, abs=1e-6)
    for metric in build_metrics(cfg):
        metric.update_state(mask, prediction)
        result = metric.result()
        assert float(result["dice"] if isinstance(result, dict) else result) == pytest.approx(1)


def test_weights_of_deep_supervision():
    from losses.supervision import build_training_loss

    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (1, 8, 8, 1)).astype(np.uint8)
    outputs = {name: rng.random((1, 8, 8, 2), dtype=np.float32) for name in ("mask", "mask_stride2")}
    losses = [
        float(
            build_training_loss(load_config(["loss=dice", f"MODEL.DEEP_SUPERVISION_WEIGHTS={weights}"]))(mask, outputs)
        )
        for weights in ("[1,0]", "[0,1]", "[1,0.5]")
    ]
    assert losses[2] == pytest.approx(losses[0] + losses[1] / 2, rel=1e-6)
    with pytest.raises(UserError, match="needs 2 entries"):
        build_training_loss(load_config(["loss=dice", "MODEL.DEEP_SUPERVISION_WEIGHTS=[1]"]))(mask, outputs)


def test_flops_of_a_network_counted_by_hand():
    equal = build_model(load_config(["MODEL.TYPE=conv_deconv", "MODEL.FILTERS=[4,4,4]"]), size=(32, 32))
    assert {"encoder2_4", "encoder2_4_second", "encoder4_4"} <= {layer.name for layer in equal.layers}
    model = build_model(load_config(["MODEL.TYPE=conv_deconv", *PETS]))
    by_hand = 2 * (64**2 * 27 * 16 + 64**2 * 144 * 32 + 32**2 * 288 * 64 + 32**2 * 576 * 64 + 64**2 * 576 * 3)
    assert count_flops(model) == by_hand


def test_the_list_and_one_model_from_the_command_line(tmp_path):
    result = run_command(
        "-m", "models", "MODEL.TYPE=conv_deconv", "+layers=True", *PETS, cwd=tmp_path, PYTHONPATH=str(PROJECT)
    )
    assert result.returncode == 0, result.stderr
    assert "62,243" in result.stdout
    assert cv2.imread(str(tmp_path / "checkpoint/architecture_conv_deconv_unet3plus.png")).std() > 0
    script = "import runpy, sys; runpy.run_module('models', run_name='__main__'); print(sorted(sys.modules))"
    listed = run_command("-c", script, cwd=tmp_path, PYTHONPATH=str(PROJECT)).stdout
    assert all(name in listed for name in [*MODEL_TYPES, *ENCODERS]) and "26,987,714" in listed
    assert "'models.sizes'" in listed and "'tensorflow'" not in listed and "'keras'" not in listed
    assert max(map(len, listed.splitlines()[:-1])) <= 80


JAX = """
import os, sys
os.environ["KERAS_BACKEND"] = "jax"
for name in ("tensorflow", "tensorflow.python"):
    sys.modules[name] = None
import keras, numpy as np
from models import build_model, inference_model
from utils.config import load_config
assert keras.backend.backend() == "jax"
images = np.load(sys.argv[1] + "/images.npy")
for name, overrides in eval(sys.argv[2]).items():
    model = build_model(load_config(overrides))
    model.load_weights(f"{sys.argv[1]}/{name}.weights.h5")
    np.save(f"{sys.argv[1]}/{name}_jax.npy", inference_model(model).predict(images, verbose=0))
"""


@pytest.mark.parametrize(
    "names",
    [
        ["unet3plus"],
        pytest.param(["unet", "conv_deconv", "unet_vgg", "unet_efficientnet"], marks=pytest.mark.slow),
    ],
)
def test_models_on_jax_without_tensorflow(names, tmp_path):
    size = ["INPUT.HEIGHT=33", "INPUT.WIDTH=40", "MODEL.FILTERS=[4,6]"]
    models = {
        "unet3plus": ["MODEL.TYPE=unet3plus_deepsup_cgm", *size],
        "unet": ["MODEL.TYPE=unet", *size, "MODEL.DECODER.UPSAMPLE=bilinear"],
        "unet_vgg": [*choose("unet", "vgg16"), *size, "MODEL.DECODER.UPSAMPLE=bilinear"],
        "unet_efficientnet": [*choose("unet", "efficientnetb0"), *size],
        "conv_deconv": ["MODEL.TYPE=conv_deconv", *size[:2]],
    }
    models = {name: models[name] for name in names}
    images = np.random.default_rng(0).random((2, 33, 40, 3), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for name, overrides in models.items():
        model = build_model(load_config(overrides))
        model.save_weights(tmp_path / f"{name}.weights.h5")
        expected[name] = inference_model(model)(images)
    result = run_command("-c", JAX, tmp_path, repr(models), PYTHONPATH=str(PROJECT), XLA_FLAGS=UNOPTIMISED)
    assert result.returncode == 0, result.stderr
    for name, value in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}_jax.npy"), value, atol=1e-4)


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["MODEL.TYPE=unet", "MODEL.BACKBONE.WEIGHTS=imagenet"], ["MODEL.BACKBONE.WEIGHTS", "efficientnetb0"]),
        (["MODEL.TYPE=unet", "MODEL.BACKBONE.TRAINABLE=False"], ["MODEL.BACKBONE.TRAINABLE"]),
        (choose("unet", "resnet50") + ["MODEL.BACKBONE.DOWN_LAYERS=[a,b,c]"], ["DOWN_LAYERS", "unet++"]),
        (["MODEL.TYPE=conv_deconv", "MODEL.DEEP_SUPERVISION=True"], ["MODEL.DEEP_SUPERVISION"]),
        (["MODEL.TYPE=conv_deconv", "MODEL.BACKBONE.TYPE=vgg16"], ["encoder of its own"]),
        (["MODEL.TYPE=unet++", "MODEL.PRUNE=1"], ["MODEL.PRUNE=1", "DEEP_SUPERVISION"]),
        (["MODEL.TYPE=unet++", "MODEL.DECODER.FILTERS=[8,8]"], ["MODEL.DECODER.FILTERS", "4 to 4"]),
        (["MODEL.TYPE=unet", "MODEL.DECODER.FILTERS=[]"], ["MODEL.DECODER.FILTERS", "3 to 4"]),
        (["MODEL.TYPE=unet", "MODEL.DECODER.FILTERS=[8,8,8,8,8]"], ["MODEL.DECODER.FILTERS", "3 to 4"]),
        (["MODEL.TYPE=unet", "MODEL.DECODER.ACTIVATION=foo"], ["MODEL.DECODER.ACTIVATION=foo"]),
        (
            ["MODEL.TYPE=unet", "MODEL.PADDING=valid", "INPUT.HEIGHT=188", "INPUT.WIDTH=188", "MODEL.DECODER.CONVS=3"],
            ["MODEL.DECODER.CONVS=2"],
        ),
    ],
)
def test_settings_that_would_be_ignored_or_cannot_be_built(overrides, words):
    with pytest.raises(UserError) as error:
        build_model(load_config(overrides))
    for word in words:
        assert word in str(error.value)
