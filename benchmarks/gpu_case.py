"""One case of gpu.py in a process of its own: python benchmarks/gpu_case.py '{"network": "unet", ...}'

It prints a line of JSON once it has measured, and a longer one once it has compared the outputs with float64. So a
time limit that ends the comparison costs no timings.
"""

import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

MARK = "CASE "  # before the lines that gpu.py reads
NO_DEVICE = 3  # exit status: no other case of this library can run, either
# implementation -> (its library, the module that runs it); the first is what the others are compared with
IMPLEMENTATIONS = {
    "plain layers": ("jax", "gpu_keras"),
    "ours": ("jax", "gpu_keras"),
    "ours, hybrid loss": ("jax", "gpu_keras"),
    "ours, TensorFlow": ("tensorflow", "gpu_keras"),
    "PyTorch": ("torch", "gpu_torch"),
    "PyTorch, channels last": ("torch", "gpu_torch"),
    "PyTorch, compiled": ("torch", "gpu_torch"),
    "PyTorch, compiled, channels last": ("torch", "gpu_torch"),
}
CLASSES = 2
WARM_UP = 3  # steps


@dataclass(frozen=True)
class Case:
    """What is measured: a network of `gpu.NETWORKS` at a size in pixels, and how.

    `check`: compare the outputs with float64, too. `toy`: few filters, on whatever device is there.
    """

    network: str
    mode: str  # training | inference
    implementation: str
    precision: str  # float32 | tf32 | bfloat16
    batch: int
    size: int = 320
    check: bool = False
    toy: bool = False

    @property
    def library(self) -> str:
        """The package that computes."""
        return IMPLEMENTATIONS[self.implementation][0]

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of the plain encoder."""
        if self.toy:
            return (4, 8) if self.network == "unet" else (4, 4, 8, 8, 8)
        return (64, 128, 256, 512, 1024)


@dataclass
class Engine:
    """A network on a device, with a batch there.

    Attributes:
        step: starts a step, may return before it is done.
        wait: takes what the last step returned, returns once it is done.
        peak_gib: the most memory so far.
        difference: absolute difference to the probabilities of float64, image 0 of the batch; None: not asked for.
        device: its name.
    """

    step: Callable[[], Any]
    wait: Callable[[Any], Any]
    peak_gib: Callable[[], float]
    difference: Callable[[], Any] | None
    device: str


def measure(engine: Engine, case: Case, started: float) -> dict[str, Any]:
    """Medians over rounds of steps that are enqueued together; `train.py` waits for the scores of each step besides."""
    engine.wait(engine.step())
    first = time.perf_counter() - started
    begin = time.perf_counter()
    for _ in range(WARM_UP):
        engine.wait(engine.step())
    steps = 1 if case.toy else max(1, round(0.2 / ((time.perf_counter() - begin) / WARM_UP)))
    rounds = []
    for _ in range(3 if case.toy else 7):
        begin = time.perf_counter()
        for _ in range(steps):
            result = engine.step()
        engine.wait(result)
        rounds.append((time.perf_counter() - begin) / steps)
    seconds = statistics.median(rounds)
    return {
        "images_per_second": case.batch / seconds,
        "milliseconds": 1000 * seconds,
        "milliseconds_fastest": 1000 * min(rounds),
        "milliseconds_slowest": 1000 * max(rounds),
        "steps": steps * len(rounds),
        "peak_gib": engine.peak_gib(),
        "first_step_seconds": first,
        "device": engine.device,
    }


def random_batch(case: Case) -> tuple[Any, Any]:
    """Images `(batch, size, size, 3)` in [0, 1] as float32, and class indices `(batch, size, size, 1)` as uint8."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (case.batch, case.size, case.size)
    return rng.random((*shape, 3), dtype=np.float32), rng.integers(0, CLASSES, (*shape, 1), dtype=np.uint8)


def process_gib() -> float:
    """Peak memory of this process, where the device has no count of its own."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(row: dict[str, Any]) -> None:
    print(MARK + json.dumps(row), flush=True)


def no_device(library: str) -> SystemExit:
    """What an engine raises that finds no GPU."""
    report({"reason": f"{library} sees no GPU here"})
    return SystemExit(NO_DEVICE)


def main() -> None:
    started = time.perf_counter()
    case = Case(**json.loads(sys.argv[1]))
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # else the peak is what JAX takes beforehand
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    try:
        engine = importlib.import_module(IMPLEMENTATIONS[case.implementation][1]).make_engine(case)
        row = measure(engine, case, started)
        report(row)
    except Exception as error:
        report({"reason": (str(error).strip() or type(error).__name__).splitlines()[0][:200]})
        raise
    if engine.difference is not None:
        try:
            found = engine.difference()
            report(row | {"difference": float(found.max()), "mean_difference": float(found.mean())})
        except Exception as error:
            report(row | {"note": f"not compared with float64: {(str(error) or type(error).__name__).splitlines()[0]}"})


def as_argument(case: Case) -> str:
    return json.dumps(asdict(case))


if __name__ == "__main__":
    main()
