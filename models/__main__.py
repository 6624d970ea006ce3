"""Look at the models: `python -m models` lists all, `python -m models MODEL.TYPE=unet++ ...` shows one.

The list gives parameters and GFLOPs at INPUT size and takes some minutes. One model is printed layer by layer and drawn
to <name>_<BACKBONE>.png in the current folder (needs pydot and Graphviz; without them the picture is left out).
Keras is imported when it is needed, so that `--help` comes at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from models import ENCODERS, MODEL_TYPES, build_model
from utils.config import load_config
from utils.config.command import command
from utils.devices.strategy import make_strategy

if TYPE_CHECKING:
    import keras


def show(cfg: DictConfig) -> None:
    """Print one model if MODEL or an experiment is set on the command line, else all of them."""
    make_strategy(cfg)
    if any(override.lstrip("+").startswith(("MODEL.", "experiment=")) for override in cfg.OVERRIDES):
        show_one(cfg)
    else:
        show_all(cfg)


def show_one(cfg: DictConfig) -> None:
    """Print a model layer by layer and draw it."""
    import keras

    model = build_model(cfg)
    model.summary(line_length=120, expand_nested=True)
    print(describe(model))
    path = f"{model.name}_{cfg.MODEL.BACKBONE.TYPE}.png"
    try:
        keras.utils.plot_model(model, path, show_shapes=True, dpi=60)
        print(f"drawn to {path}")
    except ImportError:
        print("no picture: pip install pydot, and install Graphviz (apt install graphviz)")


def show_all(cfg: DictConfig) -> None:
    """Print a line for each pair of a model type and an encoder."""
    import keras

    size = f"{cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}x{cfg.INPUT.CHANNELS}"
    print(f"{'MODEL.TYPE':<24}{'MODEL.BACKBONE.TYPE':<22}{'parameters':>14}{'GFLOPs':>10}   at {size}")
    for name, model_type in MODEL_TYPES.items():
        for backbone in ["unet3plus"] if model_type.encoder else ENCODERS:
            model = build_model(load_config([*cfg.OVERRIDES, f"MODEL.TYPE={name}", f"MODEL.BACKBONE.TYPE={backbone}"]))
            print(f"{name:<24}{backbone:<22}{describe(model)}", flush=True)
            keras.backend.clear_session()


def describe(model: keras.Model) -> str:
    """Parameters and GFLOPs."""
    from models.cost import count_flops

    flops = f"{count_flops(model) / 1e9:>10.1f}" if None not in model.input_shape[1:] else f"{'any size':>10}"
    return f"{model.count_params():>14,}{flops}"


if __name__ == "__main__":
    command(show)()
