"""What each name of MODEL.TYPE stands for, and the settings of a model with all nulls replaced by it."""

from dataclasses import dataclass, replace

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.registry import look_up


@dataclass(frozen=True)
class ModelType:
    """A row of MODEL_TYPES: a decoder, and a value for each key of MODEL that is null."""

    decoder: str | None  # a name of `models.DECODERS`; None: no masks, a label for the whole image
    FILTERS: tuple[int, ...] = (64, 128, 256, 512, 1024)
    DEEP_SUPERVISION: bool = False
    CGM: bool = False
    CONV_BIAS: bool = False
    HEAD_TRANSPOSE: bool = False
    encoder: str | None = None  # "module:function" of a type with an encoder of its own; else MODEL.BACKBONE.TYPE


UNET3PLUS = ModelType("unet3plus", CONV_BIAS=True)  # the parameter counts of the paper include the biases

MODEL_TYPES = {
    "unet": ModelType("unet"),
    "unet++": ModelType("unet++"),
    "unet3plus": UNET3PLUS,
    "unet3plus_deepsup": replace(UNET3PLUS, DEEP_SUPERVISION=True),
    "unet3plus_deepsup_cgm": replace(UNET3PLUS, DEEP_SUPERVISION=True, CGM=True),
    "tiny_unet3plus": replace(UNET3PLUS, FILTERS=(16, 32, 64, 128, 256)),
    "classifier": ModelType(None),
    "conv_deconv": ModelType(
        "conv_deconv",
        FILTERS=(16, 32, 64),
        CONV_BIAS=True,
        HEAD_TRANSPOSE=True,
        encoder="models.decoders.conv_deconv:encoder",
    ),
}


def model_settings(cfg: DictConfig) -> tuple[DictConfig, ModelType]:
    """Return a copy of `cfg.MODEL` in which MODEL.TYPE fills the nulls, and the row of MODEL_TYPES.

    Raises:
        UserError: MODEL.FILTERS has a number of widths that the type cannot take.

    >>> from utils.config import load_config
    >>> settings, model_type = model_settings(load_config(["MODEL.TYPE=tiny_unet3plus"]))
    >>> settings.FILTERS, model_type.decoder
    ([16, 32, 64, 128, 256], 'unet3plus')
    """
    model_type = look_up(MODEL_TYPES, cfg.MODEL.TYPE, "MODEL.TYPE")
    settings = cfg.MODEL.copy()
    for key in ("FILTERS", "DEEP_SUPERVISION", "CGM", "CONV_BIAS"):
        if settings[key] is None:
            settings[key] = getattr(model_type, key)
    if settings.HEAD.TRANSPOSE is None:
        settings.HEAD.TRANSPOSE = model_type.HEAD_TRANSPOSE
    if model_type.encoder and settings.BACKBONE.TYPE != "unet3plus":
        raise UserError(f"MODEL.TYPE={cfg.MODEL.TYPE} has an encoder of its own: leave MODEL.BACKBONE.TYPE out.")
    levels = len(settings.FILTERS)
    if levels < 2 or (model_type.decoder == "conv_deconv" and levels != 3):
        wanted = "3 widths" if model_type.decoder == "conv_deconv" else "at least 2 widths, usually 5"
        raise UserError(f"MODEL.FILTERS={list(settings.FILTERS)}: MODEL.TYPE={cfg.MODEL.TYPE} takes {wanted}.")
    return settings, model_type
