"""Progress bars."""

from omegaconf import DictConfig
from tqdm import tqdm


def progress(cfg: DictConfig, total: int | None, name: str, unit: str) -> tqdm:
    """A tqdm bar, silent with VERBOSE=0."""
    return tqdm(total=total, desc=name, unit=unit, disable=not cfg.VERBOSE)
