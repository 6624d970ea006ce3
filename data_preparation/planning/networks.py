"""The network that an experiment trains, from scratch or with a pretrained encoder."""

from pathlib import Path

from data_preparation.planning.experiment_file import Choice
from data_preparation.planning.input_size import MEMORY
from data_preparation.planning.start_weights import OPTION, PLAIN, Start, choose_start
from utils.base.errors import UserError

NARROW, NARROW_FILTERS = "narrow_unet", [16, 32, 64, 128, 256]  # a unet a sixteenth as costly as the usual one
DEFAULT = NARROW
PRETRAINED = "unet on mobilenetv2"  # what --weights starts
FROM_SCRATCH = [name for name in MEMORY if name != PRETRAINED]  # of --model
IMAGENET = "imagenet"
WEIGHTS, RATE = "MODEL.BACKBONE.WEIGHTS", "HYPER_PARAMETERS.LEARNING_RATE"


def choose_network(model: str | None, weights: str | None, start: Start | None = None) -> tuple[str, list[Choice]]:
    """Choose the network and its learning rate.

    Args:
        model: of --model, in FROM_SCRATCH, or None.
        weights: of --weights: "imagenet", the path of a file, or None.
        start: of --init, or None.

    Returns:
        Its name in MEMORY, and the choices.

    Raises:
        UserError: two of them are given, or there is no such file.
    """
    if start is not None:
        if model or weights:
            raise UserError(f"{OPTION} brings its network: leave --{'model' if model else 'weights'} out.")
        is_plain = start.cfg.MODEL.BACKBONE.TYPE == PLAIN
        reason = "as for random weights; lower ones change less" if is_plain else "usual for pretrained encoders"
        return row_of(start), [*choose_start(start), Choice(RATE, 1e-3 if is_plain else 5e-4, reason)]
    if weights is None:
        reason = "--model" if model else "trains without a GPU too; with one, try --model unet3plus"
        model = model or DEFAULT
        is_narrow = model == NARROW
        return model, [
            Choice("MODEL.TYPE", "unet" if is_narrow else model, reason),
            Choice("MODEL.FILTERS", NARROW_FILTERS if is_narrow else None, "narrow: more updates in the same time"),
            Choice(RATE, 1e-3, "usual with Adam for networks without pretrained weights"),
        ]
    if model is not None:
        raise UserError(f"--weights are of MobileNetV2, the encoder of a unet: leave --model {model} out.")
    if weights != IMAGENET and not Path(weights).is_file():
        raise UserError(f"--weights {weights}: there is no such file. {IMAGENET} downloads them as training starts.")
    source = "--weights; downloaded as training starts" if weights == IMAGENET else "--weights"
    return PRETRAINED, [
        Choice("MODEL.TYPE", "unet", "--weights are those of its encoder"),
        Choice("MODEL.BACKBONE.TYPE", "mobilenetv2", "small and quick; measured in docs/results/lgg_mobilenetv2.md"),
        Choice(WEIGHTS, weights if weights == IMAGENET else str(Path(weights).resolve()), source),
        Choice("MODEL.DECODER.FILTERS", [128, 64, 32, 16, 8], "narrow, as there"),
        Choice(RATE, 5e-4, "as there, and in docs/results/pets_mobilenetv2_finetuned.md"),
    ]


def row_of(start: Start) -> str:
    """The row of MEMORY for the network of --init; of one that was not measured that with the most."""
    model = start.cfg.MODEL
    name = model.TYPE if model.BACKBONE.TYPE == PLAIN else f"{model.TYPE} on {model.BACKBONE.TYPE}"
    if name == "unet" and model.FILTERS == NARROW_FILTERS:
        name = NARROW
    return name if name in MEMORY else max(MEMORY, key=lambda row: MEMORY[row])
