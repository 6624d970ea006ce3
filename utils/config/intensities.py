"""Which pixels PREPROCESS_DATA measures, and which statistics of the training set it needs."""

from omegaconf import DictConfig

TRAINING_SET = "dataset"  # as IMAGE_PREPROCESSING_TYPE, and as SCOPE
MASK = "mask"  # as FOREGROUND

# IMAGE_PREPROCESSING_TYPE -> the numbers of STATISTICS that it needs where it measures the training set
STATISTICS = {
    "percentile": ("LOW", "HIGH"),
    "zscore": ("MEAN", "STD"),
    "dataset": ("LOW", "HIGH", "MEAN", "STD"),
}


def statistics_needed(group: DictConfig) -> tuple[str, ...]:
    """The numbers of PREPROCESS_DATA.STATISTICS that the choice needs; empty if it does not measure the training set.

    Args:
        group: PREPROCESS_DATA.

    >>> from utils.config import load_config
    >>> key = "PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE"
    >>> statistics_needed(load_config([f"{key}=zscore"]).PREPROCESS_DATA)
    ()
    >>> statistics_needed(load_config([f"{key}=zscore", "PREPROCESS_DATA.SCOPE=dataset"]).PREPROCESS_DATA)
    ('MEAN', 'STD')
    """
    kind = group.IMAGE_PREPROCESSING_TYPE
    return STATISTICS.get(kind, ()) if TRAINING_SET in (kind, group.SCOPE) else ()


def measured_pixels(group: DictConfig) -> bool | str:
    """Which pixels of the training set are measured, as FOREGROUND says it: False: all, True: those above 0, "mask".

    `dataset` is the recipe of nnU-Net: always the foreground of the masks. So is what reports say without a choice.
    """
    return group.FOREGROUND if group.SCOPE == TRAINING_SET else MASK
