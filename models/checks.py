"""Settings that a model would ignore or cannot be built with, found before anything heavy is imported."""

from collections.abc import Mapping

from omegaconf import DictConfig

from models.encoders.backbones import BACKBONES
from models.image_preprocessing import IMAGE_PREPROCESSING
from models.model_types import MODEL_TYPES, ModelType, model_settings
from utils.base.errors import UserError

Sizes = Mapping[str, int | None]  # {"HEIGHT", "WIDTH"}, None: any size


def check_model(cfg: DictConfig, sizes: Sizes | None = None) -> None:
    """Refuse settings that the chosen model would ignore or could not build.

    Args:
        cfg: the config.
        sizes: {"HEIGHT", "WIDTH"} that the model is built for, in place of those of INPUT.

    Raises:
        UserError: names the key and what it needs.
    """
    settings, model_type = model_settings(cfg)
    check_backbone(settings.BACKBONE, model_type)
    check_center(settings.DECODER, model_type)
    preprocessing = cfg.PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE
    if settings.BACKBONE.WEIGHTS is not None and not IMAGE_PREPROCESSING[preprocessing].unit_range:
        fitting = " or ".join(name for name, row in IMAGE_PREPROCESSING.items() if row.unit_range)
        raise UserError(
            f"PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE={preprocessing} gives other values than those that "
            f"MODEL.BACKBONE.WEIGHTS={settings.BACKBONE.WEIGHTS} were trained with: choose {fitting}, or set WEIGHTS "
            "to null."
        )
    for key in ("DEEP_SUPERVISION", "CGM"):
        without_stages = model_type.decoder is None or (
            model_type.decoder == "conv_deconv" and key == "DEEP_SUPERVISION"
        )
        if settings[key] and without_stages:
            raise UserError(
                f"MODEL.{key}=True cannot be combined with MODEL.TYPE={cfg.MODEL.TYPE}, which has no stages: "
                "leave it out."
            )
    if settings.PRUNE is not None and not (model_type.decoder == "unet++" and settings.DEEP_SUPERVISION):
        raise UserError(f"MODEL.PRUNE={settings.PRUNE} needs MODEL.TYPE=unet++ with MODEL.DEEP_SUPERVISION=True.")
    if model_type.decoder is None and cfg.OUTPUT.CLASSES == 1 and settings.CLASSIFIER_ACTIVATION == "softmax":
        raise UserError(
            "MODEL.CLASSIFIER_ACTIVATION=softmax of one class is always 1: leave it out, or set OUTPUT.CLASSES=2."
        )
    if cfg.MODEL.PADDING == "valid":
        check_valid_padding(cfg.MODEL, sizes or cfg.INPUT)


def check_backbone(settings: DictConfig, model_type: ModelType) -> None:
    """Refuse settings of MODEL.BACKBONE that another encoder or decoder needs.

    Raises:
        UserError: names the key and what it needs.
    """
    if settings.TYPE == "unet3plus":
        given = [key for key in ("WEIGHTS", "SKIP_LAYERS", "DOWN_LAYERS") if settings[key] is not None]
        given += [] if settings.TRAINABLE else ["TRAINABLE"]
        given += [] if settings.VARIANT == "keras" else ["VARIANT"]
        if given:
            raise UserError(
                f"MODEL.BACKBONE.{given[0]} needs an ImageNet backbone: set MODEL.BACKBONE.TYPE, one of "
                f"{', '.join(BACKBONES)}."
            )
    else:
        backbone = BACKBONES[settings.TYPE]
        if settings.SKIP_LAYERS is not None and len(settings.SKIP_LAYERS) < 2:
            raise UserError(f"MODEL.BACKBONE.SKIP_LAYERS={list(settings.SKIP_LAYERS)} needs a skip and the bottleneck.")
        if settings.VARIANT == "pytorch" and backbone.pytorch and settings.WEIGHTS in backbone.weights:
            raise UserError(
                f"MODEL.BACKBONE.VARIANT=pytorch is another network than that of the {settings.WEIGHTS} weights of "
                f"{settings.TYPE}: leave one of the two out, or name PyTorch's weights in MODEL.INIT."
            )
    if settings.DOWN_LAYERS is not None and model_type.decoder != "unet++":
        raise UserError("MODEL.BACKBONE.DOWN_LAYERS is for MODEL.TYPE=unet++: leave it out.")


def check_center(settings: DictConfig, model_type: ModelType) -> None:
    """Refuse settings of MODEL.DECODER that other decoders ignore.

    Raises:
        UserError: names the key and the decoder that it is for.
    """
    if settings.CENTER_CONVS and model_type.decoder != "unet":
        raise UserError(f"MODEL.DECODER.CENTER_CONVS={settings.CENTER_CONVS} is for MODEL.TYPE=unet: leave it out.")
    if settings.MID_FILTERS is not None and (model_type.decoder not in ("unet", "unet++") or settings.CONVS < 2):
        raise UserError(
            f"MODEL.DECODER.MID_FILTERS={settings.MID_FILTERS} is for MODEL.TYPE=unet and unet++ with "
            "MODEL.DECODER.CONVS of 2 and more: leave it out."
        )
    if settings.INNER_FILTERS is not None and model_type.decoder != "unet++":
        raise UserError(f"MODEL.DECODER.INNER_FILTERS={settings.INNER_FILTERS} is for MODEL.TYPE=unet++: leave it out.")


def check_valid_padding(settings: DictConfig, sizes: Sizes) -> None:
    """MODEL.PADDING=valid works with the plain U-Net, and with sizes whose maps are even before each pooling.

    Raises:
        UserError: names the nearest sizes that fit.
    """
    if settings.TYPE != "unet" or settings.BACKBONE.TYPE != "unet3plus":
        raise UserError(
            "MODEL.PADDING=valid needs MODEL.TYPE=unet and MODEL.BACKBONE.TYPE=unet3plus, the network of 2015."
        )
    levels = len(settings.FILTERS or MODEL_TYPES["unet"].FILTERS)
    decoder = settings.DECODER
    if decoder.CONVS != 2 or (decoder.FILTERS is not None and len(decoder.FILTERS) != levels - 1):
        raise UserError(
            f"MODEL.PADDING=valid needs MODEL.DECODER.CONVS=2 and MODEL.DECODER.FILTERS null or {levels - 1} widths."
        )
    for key in ("HEIGHT", "WIDTH"):
        size = sizes[key]
        if size is None or valid_output_size(size, levels) is None:
            nearby = range(max((size or 0) - 32, 0), (size or 572) + 33)
            fitting = [str(other) for other in nearby if valid_output_size(other, levels)]
            raise UserError(
                f"INPUT.{key}={size} does not fit MODEL.PADDING=valid: every map must be even before pooling. "
                f"Sizes that fit nearby: {', '.join(fitting) or 'none; the smallest is 188 for five levels'}."
            )


def valid_output_size(size: int, levels: int) -> int | None:
    """Side of the mask that an unpadded U-Net makes of an image side, or None where the sizes do not fit.

    >>> valid_output_size(572, levels=5)  # the sizes of the U-Net paper
    388
    """
    for level in range(levels):
        size -= 4  # two 3x3 convolutions
        if level < levels - 1:
            if size % 2 or size <= 0:
                return None
            size //= 2
    for _ in range(levels - 1):
        size = 2 * size - 4
    return size if size > 0 else None
