"""Backend, devices, precision and random seeds. Neither TensorFlow nor JAX is imported before they are needed."""

from __future__ import annotations

import atexit
import copy
import gc
import importlib.util
import sys
from typing import TYPE_CHECKING, TypeAlias

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.keras_settings import choose_backend, set_keras
from utils.base.progress import Task
from utils.base.registry import load_object, look_up
from utils.base.startup import interrupt_later, quiet_stderr, without_unused_packages
from utils.config.checks import check_strategy
from utils.devices.clusters import several_workers
from utils.devices.jax_devices import JaxDevices
from utils.devices.kept_compilations import keep_compilations

if TYPE_CHECKING:
    import tensorflow as tf

# STRATEGY.NAME -> function of the module of the backend, cfg -> strategy
STRATEGIES = {
    "auto": "automatic",
    "single": "single",
    "mirrored": "mirrored",
    "multi_worker": "multi_worker",
    "tpu": "tpu",
}
# BACKEND -> (its name in messages, its package, the module of its strategies)
ENGINES = {
    "tensorflow": ("TensorFlow", "tensorflow", "utils.devices.tensorflow_strategies"),
    "jax": ("JAX", "jax", "utils.devices.jax_strategies"),
}

PRECISIONS = {False: "float32", True: "mixed_float16", "bfloat16": "mixed_bfloat16"}

Strategy: TypeAlias = "tf.distribute.Strategy | JaxDevices"


def make_strategy(cfg: DictConfig) -> Strategy:
    """Start the backend, seed everything, set the precision, and return what to build and train under.

    Returns:
        With BACKEND=tensorflow a `tf.distribute.Strategy`, with jax a `JaxDevices`. Of both you may use `scope()` and
        `num_replicas_in_sync`, and give them to `local_replicas` and `worker`.

    Raises:
        UserError: the backend is not installed; a GPU, a cluster or a TPU cannot be found; settings that do not work on
            several devices.
    """
    choose_backend(cfg.BACKEND)
    title, package, module = ENGINES[cfg.BACKEND]
    if importlib.util.find_spec(package) is None:
        other = next(name for name in ENGINES if name != cfg.BACKEND)
        raise UserError(
            f"BACKEND={cfg.BACKEND}: {title} is not installed here. Run pip install -r requirements"
            f"{'-jax' if cfg.BACKEND == 'jax' else ''}.txt, or set BACKEND={other}."
        )
    if cfg.OPTIMIZATION.KEEP_COMPILED:
        keep_compilations(package)
    # As the process ends, Python would look for garbage in all of it: one to two seconds without a word.
    atexit.register(gc.freeze)
    quiet = not cfg.VERBOSE or package in sys.modules
    with quiet_stderr(loud=cfg.VERBOSE == 2), Task(f"loading {title}", quiet=quiet, leave=False):
        with interrupt_later(), without_unused_packages():
            import keras

            start = load_object(f"{module}:start")
        start(cfg)
        # With several workers the strategy has to come before any operation; it probes the devices itself.
        strategy = load_object(f"{module}:{look_up(STRATEGIES, cfg.STRATEGY.NAME, 'STRATEGY.NAME')}")(cfg)
        keras.ops.zeros(1)
    set_keras()
    check_several_devices(cfg, strategy)
    with without_unused_packages():  # on JAX it would import TensorFlow to seed that, too
        keras.utils.set_random_seed(cfg.SEED)
    keras.config.set_dtype_policy(PRECISIONS[cfg.OPTIMIZATION.AMP])
    return strategy


def check_several_devices(cfg: DictConfig, strategy: Strategy) -> None:
    """Raise a UserError for settings that TensorFlow cannot combine on several devices."""
    if strategy.num_replicas_in_sync == 1 or cfg.BACKEND != "tensorflow":
        return
    if cfg.OPTIMIZER.ACCUMULATION_STEPS > 1 and cfg.OPTIMIZATION.AMP is True:
        raise UserError(
            f"OPTIMIZER.ACCUMULATION_STEPS={cfg.OPTIMIZER.ACCUMULATION_STEPS} on several devices cannot be "
            "combined with OPTIMIZATION.AMP=True, whose loss scale may change in between. Set "
            "OPTIMIZATION.AMP=bfloat16 or false, or USE_MULTI_GPUS.VALUE=False."
        )
    if cfg.MODEL.SYNC_BATCH_NORM and cfg.OPTIMIZATION.XLA:
        raise UserError(
            "MODEL.SYNC_BATCH_NORM=True on several devices cannot be combined with OPTIMIZATION.XLA=True, which "
            "compiles each device's part of a step alone. Set one of them to False."
        )


def join_workers(cfg: DictConfig) -> DictConfig:
    """The config with STRATEGY.NAME=multi_worker in place of auto, if this process is one of several that train.

    For training only: any other command runs alone and would wait for the others forever.

    Raises:
        UserError: settings that do not work with several workers.
    """
    if cfg.STRATEGY.NAME != "auto" or not several_workers():
        return cfg
    joined = copy.deepcopy(cfg)
    joined.STRATEGY.NAME = "multi_worker"
    check_strategy(joined)
    return joined


def local_replicas(strategy: Strategy) -> int:
    """Replicas of this process. With several workers, each has its own."""
    if isinstance(strategy, JaxDevices):
        return len(strategy.local)
    return 1 if strategy.num_replicas_in_sync == 1 else len(strategy.extended.worker_devices)


def worker(strategy: Strategy) -> tuple[int, int]:
    """(number of this worker, workers). Worker 0, the chief, writes the files."""
    if isinstance(strategy, JaxDevices):
        return strategy.worker, strategy.workers
    if not getattr(strategy.extended, "_in_multi_worker_mode", lambda: False)():
        return 0, 1
    workers = strategy.num_replicas_in_sync // local_replicas(strategy)
    return strategy.extended._id_in_cluster, workers  # a TF_CONFIG may have a chief before worker 0


def name_of(strategy: Strategy) -> str:
    """What a summary calls it."""
    if isinstance(strategy, JaxDevices):
        return strategy.name
    return "single" if type(strategy).__name__ == "_DefaultDistributionStrategy" else type(strategy).__name__
