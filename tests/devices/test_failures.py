"""What fails in the middle of a run is one line: a file that breaks, memory that ends."""

import shutil

import pytest
from helpers import SMALL, paths

from train import train
from utils.base.errors import UserError
from utils.config import load_config
from utils.devices.failures import explain_failures


@pytest.mark.parametrize("loader", ["TF_DATA", "TF_GENERATOR"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_file_that_breaks_after_it_was_checked(loader, split, tmp_path, phantom, monkeypatch):
    import train as command

    shutil.copytree(phantom / "data", tmp_path / "data")
    broken = sorted((tmp_path / "data" / split / "images").glob("*.png"))[3]

    def check(cfg, **options):
        found = verify_data(cfg, **options)
        broken.write_bytes(broken.read_bytes()[:100])
        return found

    verify_data = command.verify_data
    monkeypatch.setattr(command, "verify_data", check)
    cfg = load_config([f"WORK_DIR={tmp_path}", *SMALL, f"DATA_GENERATOR_TYPE={loader}"])
    with pytest.raises(UserError) as caught:
        command.train(cfg)
    assert str(broken) in str(caught.value) and "Traceback" not in str(caught.value) and "\n" not in str(caught.value)


def test_evaluation_of_a_file_that_breaks_after_it_was_checked(tmp_path, phantom, monkeypatch):
    import evaluate as command

    shutil.copytree(phantom / "data", tmp_path / "data")
    train(load_config([f"WORK_DIR={tmp_path}", *SMALL]))
    broken = sorted((tmp_path / "data/val/images").glob("*.png"))[3]

    def check(cfg, **options):
        found = verify_data(cfg, **options)
        broken.write_bytes(broken.read_bytes()[:100])
        return found

    verify_data = command.verify_data
    monkeypatch.setattr(command, "verify_data", check)
    overrides = [f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet", "VERBOSE=0", *paths(tmp_path)]
    with pytest.raises(UserError) as caught:
        command.evaluate(load_config(overrides))
    assert str(broken) in str(caught.value) and "\n" not in str(caught.value)


def test_out_of_memory_in_a_step_says_what_to_lower(tmp_path, phantom, monkeypatch):
    import tensorflow as tf

    from utils.training.trainer import Trainer

    def fail(*args):
        raise tf.errors.ResourceExhaustedError(
            None, None, "OOM when allocating tensor with shape[9,9]\n\t [[{{node x}}]]"
        )

    monkeypatch.setattr(Trainer, "train_on", fail)
    with pytest.raises(UserError, match=r"memory for a step.*BATCH_SIZE=2.*48x48.*AMP"):
        train(load_config([f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom)]))


def test_errors_of_both_backends_are_explained():
    """TensorFlow may prepare the batches of a training on JAX."""
    import jax
    import tensorflow as tf

    reason = "RESOURCE_EXHAUSTED: Out of memory"
    for error in (jax.errors.JaxRuntimeError(reason), tf.errors.UnknownError(None, None, reason)):
        with pytest.raises(UserError, match="not enough memory"), explain_failures(load_config(SMALL)):
            raise error
