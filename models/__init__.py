"""Models by name: an encoder (image -> maps by stride), a decoder (maps -> finer maps) and heads (maps -> outputs).

The tables say where each part is; Keras is imported when a model is built, so that `--help` and errors of the config
come at once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from models.checks import check_model, valid_output_size
from models.encoders.backbones import BACKBONES
from models.image_preprocessing import preprocess_image
from models.layers.host_draws import drawing_on_host
from models.layers.initializers import start_biases
from models.model_types import MODEL_TYPES, ModelType, model_settings
from utils.base.classes import is_multi_label
from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.base.registry import load_object, look_up
from utils.base.startup import import_keras

if TYPE_CHECKING:
    import keras

__all__ = [
    "DECODERS",
    "ENCODERS",
    "MODEL_TYPES",
    "ModelType",
    "build_model",
    "check_model",
    "inference_model",
    "mask_output",
    "model_settings",
    "valid_output_size",
]

# MODEL.BACKBONE.TYPE -> a function (image, settings, blocks, weights) -> features, down
#     features: {stride: feature map}; down: {stride: map that a decoder upsamples first}
ENCODERS = {
    "unet3plus": "models.encoders.plain:plain",
    **dict.fromkeys(BACKBONES, "models.encoders.pretrained:pretrained"),
}

# ModelType.decoder -> a function (features, down, settings, blocks) -> list of DecoderMap, the mask's first
DECODERS = {
    "unet": "models.decoders.unet:unet",
    "unet++": "models.decoders.unetplusplus:unetplusplus",
    "unet3plus": "models.decoders.unet3plus:unet3plus",
    "conv_deconv": "models.decoders.conv_deconv:decoder",
}


def build_model(
    cfg: DictConfig, pretrained: bool = True, any_size: bool = False, size: tuple[int, int] | None = None
) -> keras.Model:
    """Build the model that the config describes.

    Args:
        cfg: checked config; MODEL, INPUT, OUTPUT and PREPROCESS_DATA are read. INPUT.HEIGHT and WIDTH may be None: any
            size then.
        pretrained: false leaves out loading MODEL.BACKBONE.WEIGHTS, where trained weights are loaded anyway.
        any_size: build for images of any size, whatever INPUT says.
        size: (height, width) of the images in place of that of INPUT.

    Returns:
        A functional `keras.Model`. Input: images `(batch, height, width, channels)` in [0, 1]. Outputs, a dict:
        `mask` `(batch, height, width, classes)` probabilities in float32 (sigmoid for 1 class and
        with OUTPUT.MULTI_LABEL, else softmax);
        with deep supervision one more such mask for each supervised decoder map, named by its stride
        (`mask_stride2` ...) or, for UNet++, its depth (`mask_depth3` ...);
        with CGM `presence` `(batch, foreground classes)`, the probability that a class occurs in the image.
        MODEL.TYPE=classifier has one output, `label` `(batch, classes)`.
        With MODEL.PADDING=valid the masks are smaller than the image: its centre.

    Raises:
        UserError: a name that is not in its table, a size that the choice cannot take, or a MODEL.FREEZE that
            matches nothing or leaves nothing to train.

    >>> from utils.config import load_config
    >>> model = build_model(load_config(["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "OUTPUT.CLASSES=3"]), size=(64, 64))
    >>> model.output["mask"].shape
    (None, 64, 64, 3)
    """
    import_keras(loud=cfg.VERBOSE == 2)
    import keras

    from models.heads import make_outputs
    from models.layers.blocks import BlockSettings

    height, width = (None, None) if any_size else size or (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
    check_model(cfg, {"HEIGHT": height, "WIDTH": width})
    settings, model_type = model_settings(cfg)
    blocks = BlockSettings.from_settings(settings)
    encoder = load_object(model_type.encoder or look_up(ENCODERS, settings.BACKBONE.TYPE, "MODEL.BACKBONE.TYPE"))
    image = keras.Input((height, width, cfg.INPUT.CHANNELS), name="image")
    with drawing_on_host():
        prepared = preprocess_image(image, cfg)
        features, down = encoder(prepared, settings, blocks, backbone_weights(cfg) if pretrained else None)
        if model_type.decoder is None:
            outputs = load_object("models.classifier:classify")(features, cfg.OUTPUT.CLASSES, settings)
        else:
            decoder = load_object(DECODERS[model_type.decoder])
            maps = decoder(features, down, settings, blocks.of_decoder(settings))
            outputs = make_outputs(image, features, maps, cfg.OUTPUT.CLASSES, settings, blocks, is_multi_label(cfg))
        model = keras.Model(image, outputs, name=cfg.MODEL.TYPE.replace("+", "p"))
        start_biases(model)
    if cfg.MODEL.FREEZE is not None:
        load_object("models.freeze:freeze_layers")(model, cfg.MODEL.FREEZE)
    return model


def backbone_weights(cfg: DictConfig) -> str | None:
    """MODEL.BACKBONE.WEIGHTS: the path of a file, else the name as it is; None if the backbone starts untrained."""
    weights = cfg.MODEL.BACKBONE.WEIGHTS
    if weights is not None and resolve_path(cfg, weights).is_file():
        return str(resolve_path(cfg, weights))
    return weights


def inference_model(model: keras.Model, prune: int | None = None, fuse_batch_norm: bool = False) -> keras.Model:
    """Return the model that users run: images in, one tensor out, `(batch, height, width, classes)` in float32.

    Of a classifier it is `(batch, classes)`.

    Args:
        model: of `build_model`; what only training needs is left out.
        prune: 1 to 4 or None; MODEL.PRUNE of a UNet++ with deep supervision: the mask of that depth.
        fuse_batch_norm: true merges each batch normalisation into the convolution before it: faster, equal up to
            rounding, with weights of its own. False shares the weights of `model`.

    Raises:
        UserError: the model has no mask of that depth.

    >>> from utils.config import load_config
    >>> cfg = load_config(["MODEL.TYPE=unet3plus_deepsup", "MODEL.FILTERS=[4,8]", "OUTPUT.CLASSES=3"])
    >>> inference_model(build_model(cfg, size=(64, 64))).output_shape
    (None, 64, 64, 3)
    """
    import keras

    mask = model.output[mask_output(model.output, prune)]
    inference = keras.Model(model.input, mask, name=f"{model.name}_inference")
    return load_object("models.fuse_batch_norm:fuse_batch_norm")(inference) if fuse_batch_norm else inference


def mask_output(outputs: Collection[str], prune: int | None) -> str:
    """Return the name of the output that is the prediction.

    Args:
        outputs: the names of the outputs of `build_model`.
        prune: MODEL.PRUNE, the depth whose mask is wanted, or None.

    Raises:
        UserError: there is no mask of that depth.

    >>> mask_output(["mask", "mask_depth2", "mask_depth1", "presence"], prune=2)
    'mask_depth2'
    """
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
