"""The trained model as every format can hold it."""

import keras
from omegaconf import DictConfig

from models import build_model, inference_model
from utils.base.progress import brief_task
from utils.base.terminal import say
from utils.checkpoints import load_weights
from utils.checkpoints.temperature import Temperature, load_temperature, temperature_path
from utils.inference.temperature import with_temperature


def load_portable_model(cfg: DictConfig) -> keras.Model:
    """The inference model of a restored config: float32, batch normalisation fused, no code for this machine alone.

    With EXPORT.SIZE=dynamic it takes images of any size.
    """
    keras.config.set_dtype_policy("float32")
    portable = cfg.copy()
    portable.MODEL.WINOGRAD = False  # its loops and compiled parts are for this machine alone
    if cfg.EXPORT.QUANTIZE == "int8":
        # XNNPACK, LiteRT's usual kernels, computes int8 matrix products wrongly.
        portable.MODEL.EXACT_FAST_UPSAMPLE = False
    with brief_task(cfg, f"building {cfg.MODEL.TYPE}") as task:
        network = build_model(portable, pretrained=False, any_size=cfg.EXPORT.SIZE == "dynamic")
        task.text = (f"{network.count_params():,} parameters", "loading weights")
        load_weights(network, cfg)
        model = inference_model(network, cfg.MODEL.PRUNE, fuse_batch_norm=True)
    return with_temperature(model, portable_temperature(cfg))


def portable_temperature(cfg: DictConfig) -> Temperature | None:
    """The temperature of the weights, unless the file cannot hold it: logarithms of 8-bit integers say little."""
    if cfg.EXPORT.QUANTIZE == "int8" and cfg.TEMPERATURE.APPLY and temperature_path(cfg).exists():
        say(f"{temperature_path(cfg).name} is not used: EXPORT.QUANTIZE=int8 keeps no calibrated probabilities.")
        return None
    return load_temperature(cfg)
