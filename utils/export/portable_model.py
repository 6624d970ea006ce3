"""The trained model as every format can hold it."""

import keras
from omegaconf import DictConfig

from models import build_model, inference_model
from utils.base.progress import brief_task
from utils.checkpoints import load_weights


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
        return inference_model(network, cfg.MODEL.PRUNE, fuse_batch_norm=True)
