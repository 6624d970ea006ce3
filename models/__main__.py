"""Look at the models: `python -m models` lists all, `python -m models MODEL.TYPE=unet++ ...` shows one.

The list comes at once, from `sizes.csv`; with other settings, INPUT.HEIGHT=512 for example, every model is built, which
takes minutes. One model, or that of an +experiment, is a table of its stages and a page with the U,
`architecture_<MODEL.TYPE>_<MODEL.BACKBONE.TYPE>.png` beside the weights; `+layers=True` lists every layer as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from models import MODEL_TYPES, build_model
from models.sizes import PLAIN, Size, measure_all, read_sizes
from utils.base.terminal import make_table, say, show
from utils.base.wording import counted
from utils.checkpoints import weights_path
from utils.config.command import command
from utils.devices.strategy import make_strategy

if TYPE_CHECKING:
    from models.stages import Stage

DEFAULT_SIDE = 256  # pixels, where INPUT leaves the size open
NETWORKS = ("unet", "unet++", "unet3plus", "classifier")  # columns of the table of encoders
OF_ONE_MODEL = ("MODEL.", "experiment=")  # settings that choose a model


def main(cfg: DictConfig) -> None:
    """Show one model if the command line chooses one, else list all."""
    if any(override.lstrip("+").startswith(OF_ONE_MODEL) for override in cfg.OVERRIDES):
        show_one(cfg)
    else:
        show_all(cfg)


def show_all(cfg: DictConfig) -> None:
    """Print the sizes of all models in two tables."""
    if cfg.OVERRIDES:
        say("building every model with these settings: some minutes")
        make_strategy(cfg)
        sizes = list(measure_all(cfg.OVERRIDES))
    else:
        sizes = read_sizes()
    by_name = {(size.type, size.backbone): size for size in sizes}
    plain = [by_name[name, PLAIN] for name in MODEL_TYPES if (name, PLAIN) in by_name]
    rows = [[size.type, f"{size.parameters:,}", gflops(size)] for size in plain]
    show(make_table(["MODEL.TYPE", "parameters", "GFLOPs"], rows))
    say("")
    encoders = [size.backbone for size in sizes if size.type == NETWORKS[0]]
    rows = [[encoder, *(cell(by_name.get((name, encoder))) for name in NETWORKS)] for encoder in encoders]
    show(make_table(["MODEL.BACKBONE.TYPE", *NETWORKS], rows))
    side = f"{cfg.INPUT.HEIGHT or 'any'}x{cfg.INPUT.WIDTH or 'any'}x{cfg.INPUT.CHANNELS}"
    say(f"\nEncoders: million parameters / GFLOPs. Image {side}, {counted(cfg.OUTPUT.CLASSES, 'class', 'classes')}.")
    say("One model: python -m models MODEL.TYPE=unet++ MODEL.BACKBONE.TYPE=resnet50")


def gflops(size: Size) -> str:
    return "-" if size.gflops is None else f"{size.gflops:,.1f}"


def cell(size: Size | None) -> str:
    """Million parameters and GFLOPs.

    >>> cell(Size("unet", "resnet50", 30550034, 28.0))
    '30.6 / 28.0'
    """
    return "-" if size is None else f"{size.parameters / 1e6:.1f} / {gflops(size)}"


def show_one(cfg: DictConfig) -> None:
    """Print the stages of a model and draw its U."""
    make_strategy(cfg)
    # Keras is needed from here on.
    from models.cost import count_flops
    from models.diagram import draw_diagram
    from models.stages import stages_of

    any_size = cfg.INPUT.HEIGHT is None
    model = build_model(cfg, pretrained=False, size=(DEFAULT_SIDE, DEFAULT_SIDE) if any_size else None)
    if cfg.get("layers"):
        model.summary(line_length=80, expand_nested=True, show_trainable=False)
    stages = stages_of(model)
    show(make_table(["stage", "size", "takes", "parameters"], stage_rows(stages)))
    shape = "x".join(map(str, model.input_shape[1:]))
    cost = f"{model.count_params():,} parameters, {count_flops(model) / 1e9:,.1f} GFLOPs at {shape}"
    say(f"\n{cost}{' (INPUT has no size)' if any_size else ''}")
    name = f"{cfg.MODEL.TYPE}_{cfg.MODEL.BACKBONE.TYPE}"
    path = weights_path(cfg).parent / f"architecture_{name}.png"
    encoder = "" if cfg.MODEL.BACKBONE.TYPE == PLAIN else f" on {cfg.MODEL.BACKBONE.TYPE}"
    draw_diagram(stages, f"{cfg.MODEL.TYPE}{encoder}: {cost}", path)
    say(f"drawn to {path}")


def stage_rows(stages: Mapping[str, Stage]) -> Sequence[Sequence[str]]:
    """The table of the stages."""
    return [
        [name, "x".join(map(str, stage.shape)), ", ".join(stage.sources), f"{stage.parameters:,}"]
        for name, stage in stages.items()
    ]


if __name__ == "__main__":
    command(main)()
