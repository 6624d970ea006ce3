"""Models by name: an encoder (image -> maps by stride), a decoder (maps -> finer maps) and heads (maps -> outputs).

The tables say where each part is; nothing heavy is imported until a model is built.
"""

from dataclasses import dataclass

from models.encoders.backbones import BACKBONES
from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.base.registry import load_object, look_up

# MODEL.BACKBONE.TYPE -> a function (image, model, style) -> ({stride: feature map}, {stride: map to upsample first})
ENCODERS = {
    "unet3plus": "models.encoders.plain:plain",
    **dict.fromkeys(BACKBONES, "models.encoders.pretrained:pretrained"),
}

# A function (features, down, model, style) -> list of DecoderMap, the mask's first
DECODERS = {
    "unet": "models.decoders.unet:unet",
    "unet++": "models.decoders.unetplusplus:unetplusplus",
    "unet3plus": "models.decoders.unet3plus:unet3plus",
    "conv_deconv": "models.decoders.conv_deconv:decoder",
}


@dataclass(frozen=True)
class ModelType:
    """What a name of MODEL.TYPE stands for: a decoder, and a value for each key of MODEL that is null."""

    decoder: str | None  # None: no masks, a label for the whole image
    FILTERS: tuple = (64, 128, 256, 512, 1024)
    DEEP_SUPERVISION: bool = False
    CGM: bool = False
    CONV_BIAS: bool = False
    HEAD_TRANSPOSE: bool = False
    encoder: str | None = None  # a type that brings its own, whatever MODEL.BACKBONE.TYPE


UNET3PLUS = {"decoder": "unet3plus", "CONV_BIAS": True}  # the parameter counts of the paper include the biases

MODEL_TYPES = {
    "unet": ModelType("unet"),
    "unet++": ModelType("unet++"),
    "unet3plus": ModelType(**UNET3PLUS),
    "unet3plus_deepsup": ModelType(**UNET3PLUS, DEEP_SUPERVISION=True),
    "unet3plus_deepsup_cgm": ModelType(**UNET3PLUS, DEEP_SUPERVISION=True, CGM=True),
    "tiny_unet3plus": ModelType(**UNET3PLUS, FILTERS=(16, 32, 64, 128, 256)),
    "classifier": ModelType(None),
    "conv_deconv": ModelType(
        "conv_deconv",
        FILTERS=(16, 32, 64),
        CONV_BIAS=True,
        HEAD_TRANSPOSE=True,
        encoder="models.decoders.conv_deconv:encoder",
    ),
}


def model_settings(cfg):
    """The keys of `cfg.MODEL` as a new config, nulls replaced by what MODEL.TYPE stands for; and the row itself.

    Raises:
        UserError: MODEL.FILTERS has a number of widths that the type cannot take.
    """
    row = look_up(MODEL_TYPES, cfg.MODEL.TYPE, "MODEL.TYPE")
    model = cfg.MODEL.copy()
    for key in ("FILTERS", "DEEP_SUPERVISION", "CGM", "CONV_BIAS"):
        if model[key] is None:
            model[key] = getattr(row, key)
    if model.HEAD.TRANSPOSE is None:
        model.HEAD.TRANSPOSE = row.HEAD_TRANSPOSE
    if row.encoder and model.BACKBONE.TYPE != "unet3plus":
        raise UserError(f"MODEL.TYPE={cfg.MODEL.TYPE} has an encoder of its own: leave MODEL.BACKBONE.TYPE out.")
    levels = len(model.FILTERS)
    if levels < 2 or (row.decoder == "conv_deconv" and levels != 3):
        wanted = "3 widths" if row.decoder == "conv_deconv" else "at least 2 widths, usually 5"
        raise UserError(f"MODEL.FILTERS={list(model.FILTERS)}: MODEL.TYPE={cfg.MODEL.TYPE} takes {wanted}.")
    return model, row


def build_model(cfg, pretrained=True, any_size=False, size=None):
    """Build the model that the config describes.

    Args:
        cfg: checked config; MODEL, INPUT and OUTPUT are read. INPUT.HEIGHT and WIDTH may be None: any size then.
        pretrained: false leaves out loading MODEL.BACKBONE.WEIGHTS, where trained weights are loaded anyway.
        any_size: build for images of any size, whatever INPUT says.
        size: (height, width) of the images in place of that of INPUT.

    Returns:
        A functional `keras.Model`. Input: images `(batch, height, width, channels)` in [0, 1]. Outputs, a dict:
        `mask` `(batch, height, width, classes)` probabilities in float32 (sigmoid for 1 class, else softmax);
        with deep supervision one more such mask for each supervised decoder map, named by its stride
        (`mask_stride2` ...) or, for UNet++, its depth (`mask_depth3` ...);
        with CGM `presence` `(batch, foreground classes)`, the probability that a class occurs in the image.
        MODEL.TYPE=classifier has one output, `label` `(batch, classes)`.
        With MODEL.PADDING valid the masks are smaller than the image: its centre.

    Raises:
        UserError: a name that is not in its table, or a size or number of channels that the choice cannot take.
    """
    import keras

    from models.heads import make_outputs
    from models.layers.blocks import Style

    height, width = (None, None) if any_size else size or (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
    check_model(cfg, {"HEIGHT": height, "WIDTH": width})
    model, row = model_settings(cfg)
    weights = model.BACKBONE.WEIGHTS
    if weights is not None and resolve_path(cfg, weights).is_file():
        model.BACKBONE.WEIGHTS = str(resolve_path(cfg, weights))
    model.BACKBONE.LOAD_WEIGHTS = pretrained
    style = Style.from_config(model)
    image = keras.Input((height, width, cfg.INPUT.CHANNELS), name="image")
    encoder = row.encoder or look_up(ENCODERS, model.BACKBONE.TYPE, "MODEL.BACKBONE.TYPE")
    features, down = load_object(encoder)(image, model, style)
    if row.decoder is None:
        outputs = load_object("models.classifier:classify")(features, cfg.OUTPUT.CLASSES, model)
        return keras.Model(image, outputs, name=cfg.MODEL.TYPE)
    maps = load_object(DECODERS[row.decoder])(features, down, model, style)
    outputs = make_outputs(image, features, maps, cfg.OUTPUT.CLASSES, model, style)
    return keras.Model(image, outputs, name=cfg.MODEL.TYPE.replace("+", "p"))


def inference_model(model, prune=None, fold=False):
    """Return the model that users run: images in, one tensor out, `(batch, height, width, classes)` in float32.

    Of a classifier it is `(batch, classes)`.

    Args:
        model: of `build_model`; what only training needs is left out.
        prune: 1 to 4 or None; MODEL.PRUNE of a UNet++ with deep supervision: the mask of that depth.
        fold: true folds batch normalisation into the convolutions: faster, equal up to rounding, weights of its own.
            Else the weights are the model's.

    Raises:
        UserError: the model has no mask of that depth.
    """
    import keras

    mask = model.output[mask_output(model.output, prune)]
    inference = keras.Model(model.input, mask, name=f"{model.name}_inference")
    return load_object("models.folding:fold_batch_norm")(inference) if fold else inference


def mask_output(outputs, prune):
    """The output that is the prediction: `label`, `mask`, or the mask of the depth which MODEL.PRUNE asks for."""
    if prune is None:
        return "label" if "label" in outputs else "mask"
    depths = [name for name in outputs if name.startswith("mask_depth")]
    if not depths:
        raise UserError(f"MODEL.PRUNE={prune} needs MODEL.TYPE=unet++ trained with MODEL.DEEP_SUPERVISION=True.")
    if prune == len(depths) + 1:
        return "mask"
    if f"mask_depth{prune}" not in outputs:
        raise UserError(f"MODEL.PRUNE={prune}: this model has the depths 1 to {len(depths) + 1}.")
    return f"mask_depth{prune}"


def check_model(cfg, size=None):
    """Refuse settings that the chosen model would ignore or could not build.

    Args:
        cfg: the config.
        size: {"HEIGHT", "WIDTH"} that the model is built for, in place of INPUT.

    Raises:
        UserError: names the key and what it needs.
    """
    model, row = model_settings(cfg)
    backbone = model.BACKBONE
    if backbone.TYPE == "unet3plus":
        given = [key for key in ("WEIGHTS", "SKIP_LAYERS", "DOWN_LAYERS") if backbone[key] is not None]
        given += [] if backbone.TRAINABLE else ["TRAINABLE"]
        if given:
            raise UserError(
                f"MODEL.BACKBONE.{given[0]} needs an ImageNet backbone: set MODEL.BACKBONE.TYPE, one of "
                f"{', '.join(BACKBONES)}."
            )
    if backbone.DOWN_LAYERS is not None and row.decoder != "unet++":
        raise UserError("MODEL.BACKBONE.DOWN_LAYERS is for MODEL.TYPE=unet++: leave it out.")
    for key in ("DEEP_SUPERVISION", "CGM"):
        without_side_masks = row.decoder is None or (row.decoder == "conv_deconv" and key == "DEEP_SUPERVISION")
        if model[key] and without_side_masks:
            raise UserError(
                f"MODEL.{key}=True does not go with MODEL.TYPE={cfg.MODEL.TYPE}, which has no stages: leave it out."
            )
    if model.PRUNE is not None and not (row.decoder == "unet++" and model.DEEP_SUPERVISION):
        raise UserError(f"MODEL.PRUNE={model.PRUNE} needs MODEL.TYPE=unet++ with MODEL.DEEP_SUPERVISION=True.")
    if row.decoder is None and cfg.OUTPUT.CLASSES == 1 and model.CLASSIFIER_ACTIVATION == "softmax":
        raise UserError(
            "MODEL.CLASSIFIER_ACTIVATION=softmax of one class is always 1: leave it out, or set OUTPUT.CLASSES=2."
        )
    check_padding(cfg, size or cfg.INPUT)


def check_padding(cfg, sizes):
    """MODEL.PADDING=valid works with the plain U-Net, and with sizes whose maps are even before each pooling.

    Raises:
        UserError: names the nearest sizes that fit.
    """
    if cfg.MODEL.PADDING != "valid":
        return
    if cfg.MODEL.TYPE != "unet" or cfg.MODEL.BACKBONE.TYPE != "unet3plus":
        raise UserError(
            "MODEL.PADDING=valid needs MODEL.TYPE=unet and MODEL.BACKBONE.TYPE=unet3plus, the network of 2015."
        )
    levels = len(cfg.MODEL.FILTERS or MODEL_TYPES["unet"].FILTERS)
    decoder = cfg.MODEL.DECODER
    if decoder.CONVS != 2 or (decoder.FILTERS is not None and len(decoder.FILTERS) != levels - 1):
        raise UserError(
            f"MODEL.PADDING=valid needs MODEL.DECODER.CONVS=2 and MODEL.DECODER.FILTERS null or {levels - 1} widths."
        )
    for key in ("HEIGHT", "WIDTH"):
        size = sizes[key]
        if size is None or valid_output_size(size, levels) is None:
            near = [
                near for near in range(max((size or 0) - 32, 0), (size or 572) + 33) if valid_output_size(near, levels)
            ]
            raise UserError(
                f"INPUT.{key}={size} does not fit MODEL.PADDING=valid: every map must be even before pooling. "
                f"Sizes that fit nearby: {', '.join(map(str, near)) or 'none; the smallest is 188 for five levels'}."
            )


def valid_output_size(size, levels):
    """Side of the mask that an unpadded U-Net makes of an image side, or None where the sizes do not fit."""
    for level in range(levels):
        size -= 4  # two 3x3 convolutions
        if level < levels - 1:
            if size % 2 or size <= 0:
                return None
            size //= 2
    for _ in range(levels - 1):
        size = 2 * size - 4
    return size if size > 0 else None
