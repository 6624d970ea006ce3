"""TensorFlow against JAX on this machine: images/s, peak memory, seconds to the first step.

    python benchmarks/backends.py                        # three networks, training and inference
    python benchmarks/backends.py --only unet3plus --modes training --rounds 3

Each backend lives in a process of its own, and they take their steps in turn. Training is the step of train.py
(forward, backward, Adam), inference the forward pass of predict.py, both on a batch that lies in memory. The seconds to
the first step count from the start of the process: imports, building the network and compiling are in them. Other work
on the machine is in every figure, so the load is printed: compare ratios.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.base.closed_output import survive_closed_output

# name -> (overrides of the config, size, batch)
NETWORKS = {
    "unet3plus": (["MODEL.TYPE=unet3plus"], 320, 2),
    "unet": (["MODEL.TYPE=unet", "MODEL.FILTERS=[16,32,64,128,256]", "MODEL.HEAD.KERNEL=1"], 256, 16),
    "unet_efficientnetb0": (["MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=efficientnetb0"], 256, 8),
    "toy": (["MODEL.TYPE=unet", "MODEL.FILTERS=[4,6]"], 32, 2),
}
BACKENDS = ("tensorflow", "jax")


def serve(pipe, backend, network, mode, started):
    """In a process of its own: make the first step, then take one for every message, until "end"."""
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        step = make_step(backend, network, mode)
        step()
        pipe.send(time.time() - started)
        while pipe.recv() != "end":
            begin = time.perf_counter()
            step()
            pipe.send(time.perf_counter() - begin)
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    except Exception as error:
        pipe.send((str(error).strip() or type(error).__name__).splitlines()[0])
        raise


def make_step(backend, network, mode):
    """A function that takes a step, or runs the network once, and waits for it."""
    import numpy as np

    from utils.config import load_config
    from utils.devices.strategy import make_strategy

    overrides, size, batch = NETWORKS[network]
    settings = ["STRATEGY.NAME=single", "VERBOSE=0", "OUTPUT.CLASSES=2", "loss=cce", f"BACKEND={backend}"]
    cfg = load_config([*overrides, f"INPUT.HEIGHT={size}", f"INPUT.WIDTH={size}", *settings])
    strategy = make_strategy(cfg)  # imports Keras

    from models import build_model
    from utils.inference.forward import make_forward
    from utils.training.trainer import build_trainer

    rng = np.random.default_rng(0)
    images = rng.random((batch, size, size, 3), dtype=np.float32)
    masks = rng.integers(0, 2, (batch, size, size, 1), dtype=np.uint8)
    model = build_model(cfg)
    if mode == "inference":
        forward = make_forward(model, strategy)
        return lambda: [np.asarray(output) for output in forward(images).values()]
    trainer = build_trainer(cfg, model, strategy)
    if backend == "jax":
        data = strategy.put_batch([images, masks])
    else:
        import tensorflow as tf

        data = [tf.constant(images), tf.constant(masks)]
    return lambda: [np.asarray(value) for value in trainer.train_on(data).values()]


def compare(network, mode, rounds):
    """{backend: {heading: figure}, or the reason why there are none}."""
    context = multiprocessing.get_context("spawn")
    workers, rows = {}, {}
    for backend in BACKENDS:
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, backend, network, mode, time.time()), daemon=True)
        process.start()
        there.close()
        first = receive(here)
        if isinstance(first, float):
            workers[backend] = (here, process)
            rows[backend] = {"first step s": first, "seconds": []}
        else:
            rows[backend] = first
    for _ in range(rounds):
        for backend, (pipe, _) in workers.items():
            pipe.send("step")
            rows[backend]["seconds"].append(receive(pipe))
    for backend, (pipe, process) in workers.items():
        pipe.send("end")
        seconds = statistics.median(rows[backend].pop("seconds"))
        rows[backend] |= {"images/s": NETWORKS[network][2] / seconds, "step s": seconds, "peak GiB": receive(pipe)}
        process.join()
    return rows


def receive(pipe):
    """What a worker sends; a line if it has died."""
    try:
        return pipe.recv()
    except EOFError:
        return "the process ended"


def table_rows(network, mode, rows):
    """Markdown, a line for each backend; the ratio is that of images/s to the first backend."""
    _, size, batch = NETWORKS[network]
    reference = rows[BACKENDS[0]]
    for backend, row in rows.items():
        name = f"| {network} {size} batch {batch} | {mode} | {backend} |"
        if isinstance(row, str):
            yield f"{name} {row} | | | | |"
            continue
        ratio = f"{row['images/s'] / reference['images/s']:.2f}" if isinstance(reference, dict) else ""
        figures = (f"{row['images/s']:.2f}", f"{row['step s']:.3f}", ratio)
        yield f"{name} {' | '.join(figures)} | {row['peak GiB']:.2f} | {row['first step s']:.0f} |"


def load():
    """Processes that wait for a core, mean of the last minute."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


@survive_closed_output()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=[name for name in NETWORKS if name != "toy"])
    parser.add_argument("--modes", nargs="+", choices=("training", "inference"), default=["training", "inference"])
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each backend")
    options = parser.parse_args()
    print(f"load before: {load()}\n")
    print("| network, size, batch | | backend | images/s | step s | ratio | peak GiB | first step s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for mode in options.modes:
        for network in options.only:
            print("\n".join(table_rows(network, mode, compare(network, mode, options.rounds))), flush=True)
    print(f"\nload after: {load()}")


if __name__ == "__main__":
    main()
