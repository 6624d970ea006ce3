"""Which trained networks predict together, and for which image size they are built."""

from collections.abc import Sequence

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.keys import Role
from utils.checkpoints import restore_config, weights_path
from utils.config.folds import fold_configs
from utils.config.schema import keys_with_role


def restore_members(cfg: DictConfig) -> list[DictConfig]:
    """The restored configs of the networks of PREDICT.ENSEMBLE, of all folds, or of the one network of `cfg`.

    Raises:
        UserError: weights are missing, or the networks cannot predict together.
    """
    names = cfg.PREDICT.ENSEMBLE
    configs = fold_configs(cfg) if names is None else [member_config(cfg, name) for name in names]
    restored = [restore_config(config) for config in configs]
    check_members(restored)
    return restored


def member_config(cfg: DictConfig, name: str) -> DictConfig:
    """A copy of the config as if MODEL.WEIGHTS_FILE_NAME had been typed."""
    member = cfg.copy()
    member.MODEL.WEIGHTS_FILE_NAME = name
    member.OVERRIDES = [*cfg.OVERRIDES, f"MODEL.WEIGHTS_FILE_NAME={name}"]
    return member


def network_size(cfg: DictConfig) -> tuple[int, int] | None:
    """(height, width) that the network is built for; None for images of any size.

    PREDICT.TILE.SIZE comes first, then INPUT. A network that was trained on crops predicts whole images, unless it is
    unpadded.

    Raises:
        UserError: PREDICT.TILE.SIZE contradicts PREPROCESS_DATA.RESIZE.
    """
    tile, size = cfg.PREDICT.TILE.SIZE, (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
    if tile is not None and cfg.PREPROCESS_DATA.RESIZE.VALUE:
        raise UserError(f"PREDICT.TILE.SIZE={tile} and PREPROCESS_DATA.RESIZE.VALUE=True exclude each other.")
    if tile is not None:
        return tile, tile
    return None if None in size or predicts_whole(cfg) else size


def predicts_whole(cfg: DictConfig) -> bool:
    """Whether a network that was trained on crops predicts whole images of any size."""
    return cfg.DATASET.CROP.MODE is not None and cfg.PREDICT.TILE.SIZE is None and cfg.MODEL.PADDING != "valid"


def check_members(configs: Sequence[DictConfig]) -> None:
    """Check that networks whose probabilities are averaged take the same images and know the same classes.

    Raises:
        UserError: names the weights and the settings that differ.
    """
    first = configs[0]
    size = network_size(first)
    for other in configs[1:]:
        pairs: dict[str, tuple[dict, dict]] = {
            "INPUT": (input_of(other), input_of(first)),
            "OUTPUT": (dict(other.OUTPUT), dict(first.OUTPUT)),
        }
        if None not in (first.DATA_PREPARATION.PREPARED_BY, other.DATA_PREPARATION.PREPARED_BY):
            pairs["DATA_PREPARATION"] = (preparation_of(other), preparation_of(first))
        for group, (one, two) in pairs.items():
            if one != two:
                raise UserError(
                    f"{weights_path(other)} was trained with {group}={one}, {weights_path(first)} with {two}: they "
                    "cannot predict together."
                )
    if first.PREDICT.TTA == "dihedral" and size is not None and size[0] != size[1]:
        raise UserError("PREDICT.TTA=dihedral turns images by 90 degrees, but INPUT is not square: use flips.")


def preparation_of(cfg: DictConfig) -> dict[str, object]:
    """How the training data was prepared, by keys of DATA_PREPARATION."""
    keys = [key.split(".")[1] for key in keys_with_role(Role.PREPARATION)]
    return {key: cfg.DATA_PREPARATION[key] for key in keys if key != "PREPARED_BY"}


def input_of(cfg: DictConfig) -> dict[str, int | None]:
    """INPUT as the network is built."""
    height, width = network_size(cfg) or (None, None)
    return {"HEIGHT": height, "WIDTH": width, "CHANNELS": cfg.INPUT.CHANNELS}
