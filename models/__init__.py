"""Models by name: an encoder (image -> maps by stride), a decoder (maps -> finer maps) and heads (maps -> outputs).

The tables say where each part is; nothing heavy is imported until a model is built.
"""

from dataclasses import dataclass, replace

from utils.lookup import choose, load

# MODEL.BACKBONE.TYPE -> a function (image, cfg) -> {stride: feature map}
ENCODERS = {
    "unet3plus": "models.encoders:plain",
}

# A function (features, cfg, style) -> {stride: decoder map}
DECODERS = {
    "unet3plus": "models.unet3plus:unet3plus",
}


@dataclass(frozen=True)
class ModelType:
    """What a name of MODEL.TYPE stands for: a decoder, its widths and its flags."""

    decoder: str
    filters: tuple = (64, 128, 256, 512, 1024)
    deep_supervision: bool = False
    cgm: bool = False


MODEL_TYPES = {
    "unet3plus": ModelType("unet3plus"),
    "unet3plus_deepsup": ModelType("unet3plus", deep_supervision=True),
    "unet3plus_deepsup_cgm": ModelType("unet3plus", deep_supervision=True, cgm=True),
    "tiny_unet3plus": ModelType("unet3plus", filters=(16, 32, 64, 128, 256)),
}


def model_type(cfg):
    """The row of MODEL_TYPES that `cfg` names, with the flags and widths that `cfg` sets itself."""
    row = choose(MODEL_TYPES, cfg.MODEL.TYPE, "MODEL.TYPE")
    own = {"deep_supervision": cfg.MODEL.DEEP_SUPERVISION, "cgm": cfg.MODEL.CGM, "filters": cfg.MODEL.FILTERS}
    return replace(row, **{name: value for name, value in own.items() if value is not None})


def build_model(cfg):
    """Build the model that the config describes.

    Args:
        cfg: checked config; MODEL, INPUT and OUTPUT are read.

    Returns:
        A functional `keras.Model`. Input: images `(batch, height, width, channels)` in [0, 1]. Outputs, a dict:
        `mask` `(batch, height, width, classes)` probabilities in float32 (sigmoid for 1 class, else softmax);
        with deep supervision `mask_stride2` ... of the same shape, one for each coarser decoder map;
        with CGM `presence` `(batch, foreground classes)`, the probability that a class occurs in the image.

    Raises:
        UserError: a name that is not in its table.
    """
    import keras

    from models.blocks import Style
    from models.heads import make_outputs

    row = model_type(cfg)
    style = Style(l2=cfg.MODEL.L2)
    image = keras.Input((cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH, cfg.INPUT.CHANNELS), name="image")
    encoder = load(choose(ENCODERS, cfg.MODEL.BACKBONE.TYPE, "MODEL.BACKBONE.TYPE"))
    features = encoder(image, row.filters, style)
    maps = load(DECODERS[row.decoder])(features, row.filters, style)
    outputs = make_outputs(image, features, maps, cfg.OUTPUT.CLASSES, row, style)
    return keras.Model(image, outputs, name=cfg.MODEL.TYPE.replace("+", "p"))


def inference_model(model):
    """Return the model that users run: images in, one tensor `(batch, height, width, classes)` out, float32.

    Shares the weights of `model`; side outputs that only training needs are left out.
    """
    import keras

    return keras.Model(model.input, model.output["mask"], name=f"{model.name}_inference")
