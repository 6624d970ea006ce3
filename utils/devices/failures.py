"""What a failed step means for the user."""

import contextlib
import re

from utils.base.errors import UserError


@contextlib.contextmanager
def explain_failures(cfg):
    """Say what to do when memory, a file or another worker fails a step, instead of where it happened.

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


def explain_failure(cfg, error):
    """What a failed step means for the user, or None."""
    import tensorflow as tf

    own = re.search(r"UserError: (.*?)\n(?:Traceback|\s*\[\[)", str(error), re.DOTALL)  # ours, of a loader in the graph
    if own:
        return own.group(1).strip()
    if isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)):
        return (
            "The device has not enough memory for a step. What was saved before is kept. Lower "
            f"HYPER_PARAMETERS.BATCH_SIZE={cfg.HYPER_PARAMETERS.BATCH_SIZE} (OPTIMIZER.ACCUMULATION_STEPS keeps the "
            f"gradient of a large batch), INPUT {cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH} (or DATASET.CROP), MODEL.FILTERS. "
            f"On a GPU OPTIMIZATION.AMP=True halves most of it (now {cfg.OPTIMIZATION.AMP})."
        )
    gone = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
    if cfg.STRATEGY.NAME == "multi_worker" and isinstance(error, gone):
        reason = next((line for line in str(error).splitlines() if "Collective" in line), type(error).__name__)
        return (
            f"Another worker is gone ({reason.strip()}). Start all of them again with the same commands: they go on "
            "from the last epoch that was saved."
        )
    return None
