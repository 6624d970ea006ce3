"""The names of the channels that a network reads, in their order."""

from omegaconf import DictConfig


def names_of_slice(cfg: DictConfig) -> list[str] | None:
    """The channels of a slice: files, or sequences of a prepared scan, each with its bands; None without such names.

    With DATASET.SLICES_AROUND an image holds them once for each slice, the lowest first.

    >>> from utils.config import load_config
    >>> names_of_slice(load_config(["DATASET.CHANNELS=[t1,t2]", "DATASET.BANDS=[2]", "INPUT.CHANNELS=2"]))
    ['t1 band 2', 't2 band 2']
    """
    dataset, sequences = cfg.DATASET, cfg.DATA_PREPARATION.CHANNELS
    if sequences is not None:
        numbers = dataset.BANDS or range(1, len(sequences) + 1)
        return [sequences[number - 1] if number <= len(sequences) else f"band {number}" for number in numbers]
    if dataset.CHANNELS is not None:
        bands = [f" band {band}" for band in dataset.BANDS or ()]
        return [f"{channel}{band}" for channel in dataset.CHANNELS for band in bands or [""]]
    return None
