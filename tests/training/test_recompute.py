"""OPTIMIZATION.RECOMPUTE: the same training with fewer maps kept."""

import keras
import numpy as np
import pytest
from omegaconf import OmegaConf

from models import build_model
from utils.base.errors import UserError
from utils.config import load_config
from utils.devices.strategy import make_strategy
from utils.training.recompute import Recomputing
from utils.training.resume import list_differences
from utils.training.trainer import build_trainer

SETTINGS = ["INPUT.HEIGHT=32", "INPUT.WIDTH=48", "loss=cce_dice", "OPTIMIZER.NAME=sgd", "OPTIMIZER.MOMENTUM=0"]
UNET3PLUS = ["MODEL.TYPE=unet3plus_deepsup_cgm", "MODEL.FILTERS=[4,6,8]", "MODEL.DECODER.DROPOUT=0.2"]
MOBILENET = ["MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=mobilenetv2", "MODEL.DECODER.FILTERS=[8,8,4,4,4]"]


def train(*settings):
    """Three steps: `(losses, norms of the gradients, all variables of the network)`."""
    cfg = load_config([*SETTINGS, *settings, "HYPER_PARAMETERS.LEARNING_RATE=0.1", "HYPER_PARAMETERS.BATCH_SIZE=2"])
    strategy = make_strategy(cfg)
    trainer = build_trainer(cfg, build_model(cfg), strategy)
    rng = np.random.default_rng(0)
    losses, norms = [], []
    for _ in range(3):
        images = rng.random((2, 32, 48, 3), dtype=np.float32)
        found = trainer.train_on((images, (images.mean(-1, keepdims=True) > 0.5).astype(np.uint8)))
        losses.append(float(found["loss"]))
        norms.append(float(found["gradient_norm"]))
    return losses, norms, [keras.ops.convert_to_numpy(variable) for variable in trainer.network.variables]


@pytest.mark.parametrize(
    "settings",
    [UNET3PLUS, [*UNET3PLUS, "OPTIMIZATION.AMP=bfloat16"], [*MOBILENET, "MODEL.FREEZE=[encoder.block_1_.*]"]],
    ids=["unet3plus", "bfloat16", "mobilenetv2"],
)
def test_losses_gradients_averages_and_seeds_are_those_without(settings):
    losses, norms, variables = train(*settings)
    again = train(*settings, "OPTIMIZATION.RECOMPUTE=True")
    np.testing.assert_allclose(again[0], losses, rtol=1e-5)
    np.testing.assert_allclose(again[1], norms, rtol=1e-4)
    for ours, theirs in zip(again[2], variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [UNET3PLUS, MOBILENET], ids=["unet3plus", "mobilenetv2"])
def test_only_outputs_of_kernels_and_results_are_kept(settings):
    network = build_model(load_config([*SETTINGS, *settings]))
    groups = Recomputing(network).groups
    kept = [group for group in groups if group.is_kept]
    convolutions = [layer for layer in network._flatten_layers() if hasattr(layer, "kernel")]
    assert len(kept) == len(convolutions) + len(network.outputs)
    assert sum(len(group.steps) for group in groups) > 2 * len(kept)


@pytest.mark.parametrize("other", ["BACKEND=jax", "OPTIMIZATION.XLA=True"])
def test_what_it_does_not_go_with_is_refused(other):
    with pytest.raises(UserError, match=r"OPTIMIZATION\.RECOMPUTE=True .*" + other):
        load_config(["OPTIMIZATION.RECOMPUTE=True", other])


@pytest.mark.parametrize("earlier", [False, True], ids=["this version", "a version without the key"])
def test_a_run_may_go_on_with_it(earlier):
    before, now = (
        OmegaConf.to_container(load_config([*SETTINGS, f"OPTIMIZATION.RECOMPUTE={value}"]), resolve=True)
        for value in (False, True)
    )
    if earlier:
        del before["OPTIMIZATION"]["RECOMPUTE"]
    assert list_differences(before, now) == []
