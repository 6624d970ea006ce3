"""What a failed step means for the user. The backends are not imported: `--help` does without them."""

import contextlib
import re
import sys
from collections.abc import Iterator

from omegaconf import DictConfig

from utils.base.errors import UserError

# In the message of JAX, whose errors have one type.
LOST_WORKER = ("UNAVAILABLE", "ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "Connection closed by peer", "Gloo")


@contextlib.contextmanager
def explain_failures(cfg: DictConfig) -> Iterator[None]:
    """Say what to do when a step fails for lack of memory, a broken file or a lost worker, not where it happened.

    Raises:
        UserError: in place of the error of TensorFlow or JAX.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, (MemoryError, *backend_errors())):
            raise
        message = explain_failure(cfg, error)
        if message is None:
            raise
        raise UserError(message) from None


def explain_failure(cfg: DictConfig, error: Exception) -> str | None:
    """What a failed step means for the user; None if nothing is known about the error."""
    # An error of this project, raised by a loader within the graph.
    from_loader = re.search(r"UserError: (.*?)\n(?:Traceback|\s*\[\[)", str(error), re.DOTALL)
    if from_loader:
        return from_loader.group(1).strip()
    if out_of_memory(error):
        recompute = f" OPTIMIZATION.RECOMPUTE=True keeps less (now {cfg.OPTIMIZATION.RECOMPUTE})."
        return (
            "The device has not enough memory for a step. Everything saved before is kept. Lower "
            f"HYPER_PARAMETERS.BATCH_SIZE={cfg.HYPER_PARAMETERS.BATCH_SIZE} (OPTIMIZER.ACCUMULATION_STEPS keeps the "
            f"gradient of a large batch), INPUT {cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH} (or DATASET.CROP), MODEL.FILTERS. "
            f"On a GPU OPTIMIZATION.AMP=True halves most of it (now {cfg.OPTIMIZATION.AMP})."
            f"{recompute if cfg.BACKEND == 'tensorflow' else ''}"
        )
    if cfg.STRATEGY.NAME in ("multi_worker", "tpu") and lost_worker(error):
        reason = next((line for line in str(error).splitlines() if "Collective" in line), type(error).__name__)
        return (
            f"Another worker is gone ({reason.strip()}). Start all of them again with the same commands to continue "
            "from the last epoch that was saved."
        )
    return None


def backend_errors() -> tuple[type[Exception], ...]:
    """What operations of the backends that are loaded raise: beside JAX, TensorFlow may prepare the batches."""
    found: list[type[Exception]] = []
    if jax := sys.modules.get("jax"):
        found.append(jax.errors.JaxRuntimeError)
    if tensorflow := sys.modules.get("tensorflow"):
        found.append(tensorflow.errors.OpError)
    return tuple(found)


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory is lacking."""
    kind = type(error).__name__
    return isinstance(error, MemoryError) or kind == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)


def lost_worker(error: Exception) -> bool:
    """Whether an error says that another process of the training is gone."""
    kinds = ("UnavailableError", "AbortedError", "CancelledError")
    return type(error).__name__ in kinds or any(word in str(error) for word in LOST_WORKER)
