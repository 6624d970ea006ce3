"""What a failed step means for the user. TensorFlow is imported inside the functions: `--help` does without it."""

import contextlib
import re
from collections.abc import Iterator

from omegaconf import DictConfig

from utils.base.errors import UserError


@contextlib.contextmanager
def explain_failures(cfg: DictConfig) -> Iterator[None]:
    """Say what to do when a step fails for lack of memory, a broken file or a lost worker, not where it happened.

    Raises:
        UserError: in place of TensorFlow's error.
    """
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, MemoryError) as error:
        message = explain_failure(cfg, error)
        if message is None:
            raise
        raise UserError(message) from None


def explain_failure(cfg: DictConfig, error: Exception) -> str | None:
    """What a failed step means for the user; None if nothing is known about the error."""
    import tensorflow as tf

    # An error of this project, raised by a loader within the graph.
    from_loader = re.search(r"UserError: (.*?)\n(?:Traceback|\s*\[\[)", str(error), re.DOTALL)
    if from_loader:
        return from_loader.group(1).strip()
    if isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)):
        return (
            "The device has not enough memory for a step. Everything saved before is kept. Lower "
            f"HYPER_PARAMETERS.BATCH_SIZE={cfg.HYPER_PARAMETERS.BATCH_SIZE} (OPTIMIZER.ACCUMULATION_STEPS keeps the "
            f"gradient of a large batch), INPUT {cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH} (or DATASET.CROP), MODEL.FILTERS. "
            f"On a GPU OPTIMIZATION.AMP=True halves most of it (now {cfg.OPTIMIZATION.AMP})."
        )
    lost_worker = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
    if cfg.STRATEGY.NAME == "multi_worker" and isinstance(error, lost_worker):
        reason = next((line for line in str(error).splitlines() if "Collective" in line), type(error).__name__)
        return (
            f"Another worker is gone ({reason.strip()}). Start all of them again with the same commands to continue "
            "from the last epoch that was saved."
        )
    return None
