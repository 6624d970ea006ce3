"""What a training waits for before its first step, phase by phase, in seconds of the processor.

    python benchmarks/first_step.py MODEL.TYPE=unet MODEL.BACKBONE.TYPE=mobilenetv2 INPUT.HEIGHT=256 INPUT.WIDTH=256
    python benchmarks/first_step.py --adam keras --norm keras MODEL.TYPE=unet ...       # as Keras computes both

Seconds of the processor change less under load than those of the clock, which stand beside them. Run the two in turn,
some times each. The last line is the peak memory, which OPTIMIZATION.RECOMPUTE=True lowers. What a run does beside
this: it reads and checks the data before, and validates after the epoch.
"""

import argparse
import contextlib
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.base.closed_output import survive_closed_output
from utils.base.terminal import make_table, show
from utils.config import load_config

STEPS = 3  # after the first
ROWS: list[tuple[str, str, str]] = []


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Measure what runs inside."""
    print(name, file=sys.stderr, flush=True)
    processor, clock = time.process_time(), time.monotonic()
    yield
    ROWS.append((name, f"{time.process_time() - processor:.1f}", f"{time.monotonic() - clock:.1f}"))


@survive_closed_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adam", choices=("ours", "keras"), default="ours", help="whose update of the weights")
    parser.add_argument("--norm", choices=("ours", "keras"), default="ours", help="whose normalisation in backbones")
    options, settings = parser.parse_known_args()
    cfg = load_config(settings)

    with phase("import"):
        from utils.devices.strategy import make_strategy

        strategy = make_strategy(cfg)

        from models import build_model
        from models.encoders import pretrained
        from utils.training import optimizers
        from utils.training.trainer import build_trainer
    if options.adam == "keras":
        optimizers.OPTIMIZERS["adam"] = ("keras.optimizers:Adam", optimizers.OPTIMIZERS["adam"][1])
    if options.norm == "keras":
        pretrained.fuse_normalisation = lambda network: None
    with phase("build the network"), strategy.scope():
        network = build_model(cfg, pretrained=False)
    with phase("make the trainer and the optimizer's variables"), strategy.scope():
        trainer = build_trainer(cfg, network, strategy)
    batch = make_batch(cfg)
    with phase("trace the step and take it"):
        take_step(trainer, batch)
    for number in range(STEPS):
        with phase(f"step {number + 2}"):
            take_step(trainer, batch)
    show(make_table(["", "processor s", "clock s"], ROWS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB, load of the machine {' '.join(f'{load:.1f}' for load in os.getloadavg())}")


def take_step(trainer: Any, batch: tuple[np.ndarray, np.ndarray]) -> None:
    """Take a step and wait for its end, which JAX does not."""
    for value in trainer.train_on(batch).values():
        float(value)


def make_batch(cfg: DictConfig) -> tuple[np.ndarray, np.ndarray]:
    """Random images and masks of the size of the config."""
    rng, shape = np.random.default_rng(0), (cfg.HYPER_PARAMETERS.BATCH_SIZE, cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
    images = rng.random((*shape, cfg.INPUT.CHANNELS), dtype=np.float32)
    return images, rng.integers(0, cfg.OUTPUT.CLASSES, (*shape, 1), dtype=np.uint8)


if __name__ == "__main__":
    main()
