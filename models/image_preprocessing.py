"""Image preprocessing by name: what a network does to the values of an image before its first layer.

It is a part of the network, so that every loader, command, backend and export format does the same. Imports no Keras:
the config takes its choices from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.config.intensities import statistics_needed

if TYPE_CHECKING:
    from keras import KerasTensor


class Preprocessing(NamedTuple):
    """A row of IMAGE_PREPROCESSING.

    Attributes:
        function: "module:function", (image, settings) -> image, both `(batch, height, width, channels)` float32, or
            None: images stay as loaders give them, in [0, 1]. Settings are {key of `settings`: value}.
        settings: keys of PREPROCESS_DATA that it reads; others must be left out.
        unit_range: whether values are in [0, 1] afterwards, as pretrained encoders expect them.
        by_image: whether it measures the image, so that a crop of it comes out otherwise. With SCOPE=volume loaders
            scale the values by those of the volume, and the function only brings them to their unit; with
            SCOPE=dataset it has the STATISTICS of the training set.
    """

    function: str | None
    settings: tuple[str, ...] = ()
    unit_range: bool = True
    by_image: bool = False


# PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE -> its row
IMAGE_PREPROCESSING = {
    "normalize": Preprocessing(None),
    "window": Preprocessing(None, ("WINDOW",)),
    "percentile": Preprocessing(
        "models.layers.intensities:stretch_percentiles",
        ("PERCENTILES", "FOREGROUND", "SCOPE", "STATISTICS"),
        by_image=True,
    ),
    "zscore": Preprocessing(
        "models.layers.intensities:zscore", ("FOREGROUND", "SCOPE", "STATISTICS"), unit_range=False, by_image=True
    ),
    "dataset": Preprocessing("models.layers.intensities:dataset_zscore", ("PERCENTILES", "STATISTICS"), False),
}


def preprocess_image(image: KerasTensor, cfg: DictConfig) -> KerasTensor:
    """Add the layer of PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE to a model.

    Args:
        image: symbolic, `(batch, height, width, channels)` in [0, 1].
        cfg: checked config.

    Raises:
        UserError: the statistics of the training set are not known yet.
    """
    group = cfg.PREPROCESS_DATA
    kind = group.IMAGE_PREPROCESSING_TYPE
    row = IMAGE_PREPROCESSING[kind]
    if row.function is None:
        return image
    contents: Any = OmegaConf.to_container(group, resolve=False)
    settings = {key: contents[key] for key in row.settings}
    statistics = {name: settings["STATISTICS"][name] for name in statistics_needed(group)}
    if None in statistics.values():
        raise UserError(
            f"PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE={kind} needs PREPROCESS_DATA.STATISTICS, which training finds "
            "and saves beside the weights; verify_data.py writes them to its report."
        )
    settings = {**settings, "STATISTICS": statistics}
    layer = load_object("models.layers.intensities:PreprocessImage")
    return layer(kind, settings, name="image_preprocessing")(image)
