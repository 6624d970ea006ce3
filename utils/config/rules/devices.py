"""Rules between keys about devices: what a TPU or several workers cannot do."""

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.config.rules.data import TF_DATA_LOADERS


def tpu_needs_tf_data(cfg: DictConfig) -> None:
    if on_tensorflow_tpu(cfg) and cfg.DATA_GENERATOR_TYPE not in TF_DATA_LOADERS:
        raise UserError(
            "STRATEGY.NAME=tpu BACKEND=tensorflow needs DATA_GENERATOR_TYPE=TF_DATA or TFRECORD, not "
            f"{cfg.DATA_GENERATOR_TYPE}, whose "
            "batches are made by Python threads that the machine of the TPU cannot run. BACKEND=jax takes any."
        )


def tpu_needs_fixed_shapes(cfg: DictConfig) -> None:
    if on_tensorflow_tpu(cfg) and cfg.INPUT.HEIGHT is None:
        raise UserError("STRATEGY.NAME=tpu compiles for images of one size: set INPUT.HEIGHT and INPUT.WIDTH.")
    if on_tensorflow_tpu(cfg) and not cfg.DATASET.DROP_REMAINDER:
        raise UserError("STRATEGY.NAME=tpu compiles for batches of one size: set DATASET.DROP_REMAINDER=True.")


def tpu_has_no_float16(cfg: DictConfig) -> None:
    if cfg.STRATEGY.NAME == "tpu" and cfg.OPTIMIZATION.AMP is True:
        raise UserError("OPTIMIZATION.AMP=True is float16, which TPUs lack: set OPTIMIZATION.AMP=bfloat16.")


def recompute_is_of_tensorflow(cfg: DictConfig) -> None:
    if cfg.OPTIMIZATION.RECOMPUTE and (cfg.BACKEND == "jax" or cfg.OPTIMIZATION.XLA):
        other = "BACKEND=jax" if cfg.BACKEND == "jax" else "OPTIMIZATION.XLA=True"
        raise UserError(
            f"OPTIMIZATION.RECOMPUTE=True does not go with {other}, whose compiler decides itself what it computes "
            "again. Leave one out."
        )


def workers_save_after_epochs(cfg: DictConfig) -> None:
    if cfg.STRATEGY.NAME == "multi_worker" and cfg.CALLBACKS.CHECKPOINT_EVERY_STEPS is not None:
        raise UserError(
            "CALLBACKS.CHECKPOINT_EVERY_STEPS does not work with STRATEGY.NAME=multi_worker: the first worker saves "
            "the state at the end of each epoch. Leave it out."
        )


def workers_read_by_themselves(cfg: DictConfig) -> None:
    if cfg.STRATEGY.NAME == "multi_worker" and cfg.DATASET.SERVICE is not None:
        raise UserError(
            "DATASET.SERVICE does not work with STRATEGY.NAME=multi_worker, where each worker reads its own data."
        )


def on_tensorflow_tpu(cfg: DictConfig) -> bool:
    """Whether TensorFlow trains on a TPU, which has rules that JAX has not."""
    return cfg.STRATEGY.NAME == "tpu" and cfg.BACKEND == "tensorflow"
