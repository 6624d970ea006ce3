"""The network that an experiment trains, from scratch or with a pretrained encoder."""

from pathlib import Path

from data_preparation.planning.experiment_file import Choice
from data_preparation.planning.input_size import MEMORY
from utils.base.errors import UserError

NARROW, NARROW_FILTERS = "narrow_unet", [16, 32, 64, 128, 256]  # a unet a sixteenth as costly as the usual one
DEFAULT = NARROW
PRETRAINED = "unet on mobilenetv2"  # what --weights starts
FROM_SCRATCH = [name for name in MEMORY if name != PRETRAINED]  # of --model
IMAGENET = "imagenet"
WEIGHTS, RATE = "MODEL.BACKBONE.WEIGHTS", "HYPER_PARAMETERS.LEARNING_RATE"


def choose_network(model: str | None, weights: str | None) -> tuple[str, list[Choice]]:
    """Choose the network and its learning rate.

    Args:
        model: of --model, in FROM_SCRATCH, or None.
        weights: of --weights: "imagenet", the path of a file, or None.

    Returns:
        Its name in MEMORY, and the choices.

    Raises:
        UserError: both are given, or there is no such file.
    """
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
