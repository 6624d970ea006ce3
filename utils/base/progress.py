"""Progress bars."""

from tqdm import tqdm


def progress(cfg, total, name, unit):
    """A tqdm bar, silent with VERBOSE=0."""
    return tqdm(total=total, desc=name, unit=unit, disable=not cfg.VERBOSE)
