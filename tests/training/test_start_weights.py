"""MODEL.INIT: what a network takes from the weights of another run, and what it makes anew."""

import csv

import keras
import numpy as np
import pytest
from helpers import assert_one_clear_error, run_command

from models import build_model
from models.encoders.other_channels import at_least_three
from utils.base.errors import UserError
from utils.checkpoints.first_kernel import by_name
from utils.checkpoints.saved_config import save_config
from utils.checkpoints.start_weights import count_taken, find_start, start_with
from utils.checkpoints.weights import save_weights
from utils.config import load_config
from utils.training.optimizers import make_optimizer

SMALL = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "INPUT.HEIGHT=32", "INPUT.WIDTH=32"]
LIVER = ["OUTPUT.CLASSES=2", "OUTPUT.CLASS_NAMES=[background,liver]"]
MORE = ["OUTPUT.CLASSES=3", "OUTPUT.CLASS_NAMES=[background,tumour,liver]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with random weights; returns its folder and network."""
    folder = tmp_path_factory.mktemp("run")
    cfg = load_config([*SMALL, *LIVER, "SEED=9"])
    network = build_model(cfg)
    for variable in network.weights:
        variable.assign(np.random.default_rng(len(variable.path)).random(variable.shape))
    save_weights(network, folder / "liver.weights.h5")
    save_config(cfg, folder / "liver.weights.h5")
    return folder, network


def start(run, *overrides):
    """The network of other settings after its start, its first values and the report."""
    cfg = load_config([*SMALL, *overrides, f"MODEL.INIT={run[0]}"])
    network = build_model(cfg)
    before = {variable.path: np.array(variable) for variable in network.weights}
    taken = start_with(network, cfg, find_start(cfg))
    return {variable.path: np.array(variable) for variable in network.weights}, before, taken


def test_the_same_network_of_another_size_takes_all(run):
    values, _, taken = start(run, *LIVER, "INPUT.HEIGHT=48", "INPUT.WIDTH=64")
    assert not taken.adapted and not taken.left and len(taken.taken) == len(values)
    for variable in run[1].weights:
        np.testing.assert_array_equal(values[variable.path], variable)


@pytest.mark.parametrize("head", [[], ["MODEL.HEAD.TRANSPOSE=True"]])
def test_classes_of_the_same_name_keep_their_kernels(head, tmp_path):
    cfg = load_config([*SMALL, *LIVER, *head])
    source = build_model(cfg)
    save_weights(source, tmp_path / "a.weights.h5")
    save_config(cfg, tmp_path / "a.weights.h5")
    values, before, taken = start((tmp_path, source), *MORE, *head)
    assert set(taken.adapted) == {"mask_logits/kernel", "mask_logits/bias"} and not taken.left
    theirs = np.array(source.get_layer("mask_logits").kernel)
    ours, new = values["mask_logits/kernel"], before["mask_logits/kernel"]
    theirs, ours, new = (np.moveaxis(kernel, 2 if head else 3, 0) for kernel in (theirs, ours, new))
    np.testing.assert_array_equal(ours, [theirs[0], new[1], theirs[1]])


def test_unnamed_classes_of_the_same_number_are_the_same(run):
    _, _, taken = start(run, "OUTPUT.CLASSES=2")
    assert taken.taken["mask_logits/kernel"] == "as many classes, without names"
    assert start(run, *LIVER)[2].taken["mask_logits/kernel"] == ""


def test_a_class_does_not_become_the_background(tmp_path):
    cfg = load_config([*SMALL, "OUTPUT.MULTI_LABEL=True", "OUTPUT.CLASSES=2", "DATASET.CLASS_MASKS=[liver,tumour]"])
    source = build_model(cfg)
    save_weights(source, tmp_path / "a.weights.h5")
    save_config(cfg, tmp_path / "a.weights.h5")
    values, before, taken = start((tmp_path, source), "OUTPUT.CLASSES=2")
    assert taken.left == dict.fromkeys(("mask_logits/kernel", "mask_logits/bias"), "classes differ")
    np.testing.assert_array_equal(values["mask_logits/kernel"], before["mask_logits/kernel"])
    values, before, _ = start((tmp_path, source), *LIVER)
    theirs, ours, new = (
        np.array(source.get_layer("mask_logits").kernel),
        *(part["mask_logits/kernel"] for part in (values, before)),
    )
    np.testing.assert_array_equal(ours[..., 1], theirs[..., 0])
    np.testing.assert_array_equal(ours[..., 0], new[..., 0])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_equal_channels_give_the_response_they_gave(channels, run):
    values, _, taken = start(run, *LIVER, f"INPUT.CHANNELS={channels}")
    name = "encoder1_1_conv/kernel"
    assert taken.adapted == {name: f"3 -> {channels} channels"} and not taken.left
    published = np.array(run[1].get_layer("encoder1_1_conv").kernel)
    np.testing.assert_allclose(values[name].sum(axis=2), published.sum(axis=2), rtol=1e-6)
    grey = np.random.default_rng(1).random((1, 8, 8, 1), dtype=np.float32)
    ours, theirs = (
        keras.ops.convert_to_numpy(keras.ops.conv(np.repeat(grey, kernel.shape[2], axis=-1), kernel, padding="same"))
        for kernel in (values[name], published)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def save_run(folder, overrides):
    """A run with random weights of these settings; its network."""
    cfg = load_config([*SMALL, *LIVER, *overrides])
    network = build_model(cfg)
    save_weights(network, folder / "a.weights.h5")
    save_config(cfg, folder / "a.weights.h5")
    return network


@pytest.mark.parametrize("chosen", [["t2", "t1", "flair"], ["flair", "t1"], ["t2"], ["t1", "dwi", "flair", "t2"]])
def test_channels_of_the_same_name_keep_their_kernels(chosen, tmp_path):
    """The response to the channels that both have is the one that it was; new ones add nothing yet."""
    names = ["t1", "t2", "flair"]
    source = save_run(tmp_path, ["DATASET.CHANNELS=[t1,t2,flair]"])
    here = f"DATASET.CHANNELS=[{','.join(chosen)}]"
    values, _, taken = start((tmp_path, source), *LIVER, here, f"INPUT.CHANNELS={len(chosen)}")
    known = [name for name in chosen if name in names]
    assert taken.adapted == {"encoder1_1_conv/kernel": f"{len(known)} of {len(chosen)} channels by name"}
    kernel = np.array(source.get_layer("encoder1_1_conv").kernel)
    expected = [kernel[:, :, names.index(name)] if name in known else np.zeros((3, 3, 4)) for name in chosen]
    np.testing.assert_array_equal(values["encoder1_1_conv/kernel"], np.stack(expected, axis=2))


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["t1"], ["t1"]),
        (["t1"], ["flair", "t1"]),
        (["t1", "flair"], ["t1"]),
        (["t1", "flair"], ["flair", "t1"]),
        (["t1", "flair"], ["t2", "flair", "dwi"]),
        (["t1", "t2", "flair"], ["t1"]),
        (["t1", "t2", "flair"], ["flair", "t1"]),
        (["t1", "t2", "flair"], ["t2", "flair", "dwi"]),
    ],
)
@pytest.mark.parametrize("reversed_here", [False, True])
def test_channels_by_name_where_an_encoder_reads_fewer_than_three_as_three(there, chosen, reversed_here):
    """Compared by what the first convolution makes of images, through the joining and reversing before it."""
    rng = np.random.default_rng(3)
    images = {name: rng.random((5, 5)) for name in ("t1", "t2", "flair", "dwi")}
    kernel = rng.random((1, 1, 3, 2))

    def response(kernel, names, reverses):
        image = np.stack([images[name] for name in names], axis=-1)
        image = np.array(at_least_three(keras.ops.convert_to_tensor(image[None])))[0]
        return (image[..., ::-1] if reverses else image) @ kernel[0, 0]

    places = [there.index(name) if name in there else None for name in chosen]
    ours = by_name(kernel, places, len(there), 3, True, reversed_here)
    images |= {name: np.zeros((5, 5)) for name in {*there} - {*chosen}}
    expected = response(kernel, there, True)
    np.testing.assert_allclose(response(ours, chosen, reversed_here), expected, rtol=1e-5)


def test_other_intensities_are_named(tmp_path):
    source = save_run(tmp_path, ["PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=zscore"])
    line = "trained there on images seen with PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=zscore"
    assert line in start((tmp_path, source), *LIVER)[2].lines()
    same = start((tmp_path, source), *LIVER, "PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=zscore")[2].lines()
    assert not any("seen with" in shown for shown in same)


def test_another_decoder_takes_the_encoder(run):
    values, before, taken = start(run, *LIVER, "MODEL.TYPE=unet3plus", "MODEL.FILTERS=[4,8]")
    encoder = [path for path in values if path.startswith("encoder")]
    assert encoder and set(encoder) <= {*taken.taken, *taken.left}
    assert [path for path in taken.taken if path.startswith("encoder")]
    for path in taken.left:
        np.testing.assert_array_equal(values[path], before[path])


def test_what_cannot_be_a_start_is_one_line(run, tmp_path):
    with pytest.raises(UserError, match=r"nothing of .* fits this network\. It is unet on unet3plus"):
        start(run, "MODEL.FILTERS=[5,9]", "OUTPUT.CLASSES=3")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.weights.h5").touch()
    (tmp_path / "b.weights.h5").touch()
    for path, words in (
        ("empty", "none"),
        (".", "a.weights.h5, b.weights.h5"),
        ("nowhere", "there is no"),
        ("a.weights.h5", "a.yaml"),
    ):
        with pytest.raises(UserError, match=words):
            find_start(load_config([*SMALL, f"MODEL.INIT={tmp_path / path}"]))


def test_train_refuses_before_it_loads_tensorflow(tmp_path):
    done = run_command("train.py", f"WORK_DIR={tmp_path}", "MODEL.INIT=nowhere")
    assert_one_clear_error(done, "MODEL.INIT=nowhere")
    assert "loading TensorFlow" not in done.stderr


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        ("encoder", {"decoder1_1_conv", "decoder1_2_conv", "decoder1_upsample", "mask_logits"}),
        ("all_but_head", {"mask_logits"}),
        ("[decoder,encoder1_]", {"encoder2_1_conv", "encoder2_2_conv", "mask_logits"}),
    ],
)
def test_frozen_parts(freeze, trained):
    network = build_model(load_config([*SMALL, f"MODEL.FREEZE={freeze}"]))
    kernels = {variable.path for variable in network.trainable_variables if variable.path.endswith("kernel")}
    assert {path.split("/")[0] for path in kernels} == trained


def test_the_backbone_is_the_encoder():
    backbone = ["MODEL.BACKBONE.TYPE=vgg16", "MODEL.DECODER.FILTERS=[4,4,4,4]", "MODEL.TYPE=unet"]
    network = build_model(load_config([*backbone, *SMALL[2:], "MODEL.FREEZE=encoder"]))
    assert not network.get_layer("encoder").trainable_variables and network.trainable_variables


def test_the_encoder_learns_at_its_own_rate():
    cfg = load_config(
        [*SMALL, "OPTIMIZER.NAME=sgd", "OPTIMIZER.ENCODER_FACTOR=0.25", "HYPER_PARAMETERS.LEARNING_RATE=1"]
    )
    network = build_model(cfg)
    before = [keras.ops.convert_to_numpy(variable) for variable in network.trainable_variables]
    make_optimizer(cfg, network).apply(
        [keras.ops.ones(variable.shape) for variable in network.trainable_variables], network.trainable_variables
    )
    for old, variable in zip(before, network.trainable_variables, strict=True):
        step = 0.25 if variable.path.startswith("encoder") else 1
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), old - step, atol=1e-6, err_msg=variable.path)


def test_a_rate_of_a_frozen_encoder_is_refused():
    cfg = load_config([*SMALL, "MODEL.FREEZE=encoder", "OPTIMIZER.ENCODER_FACTOR=0.1"])
    with pytest.raises(UserError, match="no weight of an encoder is trained"):
        make_optimizer(cfg, build_model(cfg))


@pytest.mark.parametrize(
    ("freeze", "words"),
    [
        ("decodr", "FREEZE=decodr: no layer .* Choices: encoder, all_but_head, .* like decoder1_"),
        ("[encodr1_1]", "no layer with weights .* like encoder1_1_"),
        ("['(']", "no regular"),
        ("['.']", "nothing to train"),
    ],
)
def test_a_wrong_part_is_one_line(freeze, words):
    with pytest.raises(UserError, match=words):
        build_model(load_config([*SMALL, f"MODEL.FREEZE={freeze}"]))


def test_the_table_of_all_arrays(run, tmp_path):
    _, before, taken = start(run, *MORE, "INPUT.CHANNELS=1")
    cfg = load_config([*SMALL, *MORE, "MODEL.INIT=liver"])
    assert count_taken(cfg, tmp_path / "new.weights.h5") is None
    taken.save(tmp_path / "new.weights.h5")
    with open(tmp_path / "new.start.csv", newline="") as file:
        rows = {row["array"]: (row["what"], row["why"]) for row in csv.DictReader(file)}
    assert rows.keys() == before.keys()
    assert rows["mask_logits/kernel"] == ("adapted", "2 of 3 classes by name")
    counts = {"weights": "liver", "taken": len(before) - 3, "adapted": 3, "new": 0}
    assert count_taken(cfg, tmp_path / "new.weights.h5") == counts
    assert count_taken(load_config(SMALL), tmp_path / "new.weights.h5") is None


@pytest.mark.parametrize("name", ["model.keras", "model.onnx", "model.tflite"])
def test_an_exported_model_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match="exported or whole model"):
        find_start(load_config([*SMALL, f"MODEL.INIT={tmp_path / name}"]))
