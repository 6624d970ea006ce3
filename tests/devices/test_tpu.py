"""STRATEGY.NAME=tpu up to the resolver, with a substitute for what only a TPU machine has. None was at hand."""

from urllib.error import URLError

import pytest

from utils.base.errors import UserError
from utils.config import load_config
from utils.devices.strategy import make_strategy

TPU = ["STRATEGY.NAME=tpu", "DATA_GENERATOR_TYPE=TF_DATA", "DATASET.DROP_REMAINDER=True"]


@pytest.fixture
def substitute(monkeypatch):
    """TensorFlow's resolver, initialisation and strategy of TPUs; notes what was asked of them."""
    import tensorflow as tf

    asked = []

    class Resolver:
        def __init__(self, tpu):
            asked.append(("resolver", tpu))

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", Resolver)
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", lambda _: asked.append(("connect",)))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", lambda _: asked.append(("initialize",)))
    monkeypatch.setattr(
        tf.distribute, "TPUStrategy", lambda _: asked.append(("strategy",)) or tf.distribute.get_strategy()
    )
    return asked


@pytest.mark.parametrize("name, connects", [("local", False), ("my-tpu", True)])
def test_the_steps_up_to_the_strategy(name, connects, substitute):
    make_strategy(load_config([*TPU, f"STRATEGY.TPU={name}"]))
    expected = [("resolver", name), *([("connect",)] if connects else []), ("initialize",), ("strategy",)]
    assert substitute == expected


def test_without_tpu_support_the_error_names_the_package():
    with pytest.raises(UserError, match=r"requirements-tpu\.txt"):
        make_strategy(load_config(TPU))
    try:
        make_strategy(load_config(TPU))
    except UserError as error:
        assert "tensorflow-tpu" in str(error) and "STRATEGY.TPU=local" in str(error) and "\n" not in str(error)


def test_a_name_that_cannot_be_looked_up(substitute, monkeypatch):
    import tensorflow as tf

    def fail(tpu):
        raise URLError("Name or service not known")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", fail)
    with pytest.raises(UserError, match=r"STRATEGY\.TPU=mytpu: no TPU was found .*not known"):
        make_strategy(load_config([*TPU, "STRATEGY.TPU=mytpu"]))


@pytest.mark.parametrize("loader", ["TF_GENERATOR", "DALI_GENERATOR"])
def test_loaders_of_python_threads_are_refused_with_the_reason(loader):
    with pytest.raises(UserError, match=r"TF_DATA or TFRECORD.*Python threads"):
        load_config(["STRATEGY.NAME=tpu", f"DATA_GENERATOR_TYPE={loader}"])


@pytest.mark.parametrize(
    "setting, words",
    [
        (["INPUT.HEIGHT=null", "INPUT.WIDTH=null", "HYPER_PARAMETERS.BATCH_SIZE=1"], "one size"),
        (["OPTIMIZATION.AMP=True"], "bfloat16"),
        (["DATASET.DROP_REMAINDER=False"], "DROP_REMAINDER=True"),
    ],
)
def test_what_a_tpu_does_not_do_is_refused(setting, words):
    with pytest.raises(UserError, match=words):
        load_config([*TPU, *setting])


def test_bfloat16(substitute):
    import keras

    make_strategy(load_config([*TPU, "OPTIMIZATION.AMP=bfloat16"]))
    assert keras.config.dtype_policy().compute_dtype == "bfloat16"


def test_the_pipeline_knows_the_shapes_beforehand(phantom, substitute):
    from data_generators import build_dataset

    cfg = load_config([*TPU, f"WORK_DIR={phantom}", "INPUT.HEIGHT=48", "INPUT.WIDTH=48"])
    image, mask = build_dataset(cfg, "train").batches.element_spec
    assert image.shape[1:] == (48, 48, 3) and mask.shape[1:] == (48, 48, 1)
