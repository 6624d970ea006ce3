"""What more images cost: time and memory of verify, train and evaluate over sets of different sizes.

    python benchmarks/cost_of_scale.py --pairs 1000 10000 100000

The sets are hard links to a few pictures in a folder for the time of the measurement. The commands are those that users
type, with a tiny network; "start" is the time from the command to the end of the first step, and the epoch is that of
the loader alone. Seconds of the clock, those of the processor in parentheses: on a busy machine the second count.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from timed_commands import ending_with_first_step, make_pairs, paths, run

from utils.base.closed_output import survive_closed_output
from utils.base.terminal import make_table, show

PROJECT = Path(__file__).resolve().parent.parent
SIZE = 64  # pixels
MODEL = ("MODEL.TYPE=tiny_unet3plus", "MODEL.FILTERS=[4,8]", f"INPUT.HEIGHT={SIZE}", f"INPUT.WIDTH={SIZE}")
PACE = ("HYPER_PARAMETERS.EPOCHS=1", "HYPER_PARAMETERS.BATCH_SIZE=16", "RESUME=never", "VERBOSE=0")


def start(settings):
    """Train up to the first step: print the seconds since the command, those of the processor and the peak in MB."""
    import train
    from utils.config import load_config

    def ended():
        print(time.monotonic() - float(os.environ["COMMAND_BEGAN"]), time.process_time(), peak(), flush=True)

    train.explain_failures = ending_with_first_step(train.explain_failures, ended)
    train.train(load_config(settings))


def epoch(settings):
    """Read an epoch without a network: print the seconds to the first batch, those of the whole and the peak in MB."""
    from data_generators import build_dataset
    from utils.config import load_config

    cfg = load_config(settings)
    data = build_dataset(cfg, "train", augment=True, as_stored=True)
    for number in range(2):  # threads are started with the first
        data.sampler.set_epoch(number, 0 if number else max(0, data.steps - 4))
        began, used = time.monotonic(), time.process_time()
        batches = iter(data)
        next(batches)
        first = time.monotonic() - began
        deque(batches, maxlen=0)  # reads the rest and keeps nothing
    print(first, time.monotonic() - began, time.process_time() - used, peak(), flush=True)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds(clock, processor):
    return f"{clock:.1f} ({processor:.1f})"


def measure(root, number):
    """A row of the table."""
    here, folder = str(Path(__file__).resolve()), root / f"of{number}"
    make_pairs(folder, number, seed=1)
    work = (f"WORK_DIR={root}", *MODEL, *PACE)
    training = (*work, *paths("train", folder), *paths("val", root / "few"))
    row = [f"{number:,}"]
    for _ in ("first", "again"):
        *times, memory, said = run(here, "--do", "start", *training)
        clock, processor, memory = map(float, said[-1].split())
        row += [seconds(clock, processor)]
    row += [f"{memory:.0f}"]
    *times, memory, _ = run(PROJECT / "data_preparation/verify_data.py", *training)
    row += [seconds(*times), f"{memory:.0f}"]
    first, whole, processor, memory = map(float, run(here, "--do", "epoch", *training)[3][-1].split())
    row += [f"{first:.2f}", f"{1000 * whole / number:.2f} ({1000 * processor / number:.2f})", f"{memory:.0f}"]
    *times, memory, _ = run(PROJECT / "evaluate.py", *work, *paths("val", folder))
    return [*row, seconds(*times), f"{memory:.0f}"]


@survive_closed_output()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--do", choices=("start", "epoch"), help=argparse.SUPPRESS)  # in a process of its own
    options, settings = parser.parse_known_args()
    if options.do:
        return (start if options.do == "start" else epoch)(settings)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_pairs(root / "few", 32, seed=0)
        few = (*paths("train", root / "few"), *paths("val", root / "few"))
        run(PROJECT / "train.py", f"WORK_DIR={root}", *MODEL, *PACE, *few)  # the weights that evaluate.py takes
        for number in options.pairs:
            rows.append(measure(root, number))
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    headings = ["pairs", "start, first s", "start, again s", "peak MB", "verify s", "peak MB", "epoch: first batch s"]
    show(make_table([*headings, "ms/pair", "peak MB", "evaluate s", "peak MB"], rows))
    print(f"load of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    return None


if __name__ == "__main__":
    main()
