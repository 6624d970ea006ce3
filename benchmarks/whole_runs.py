"""What a whole run costs beside the network: evaluation, validation, prediction, a volume, the report and an epoch.

    python benchmarks/whole_runs.py                                                   # some minutes on two cores
    python benchmarks/whole_runs.py MODEL.TYPE=unet3plus INPUT.HEIGHT=320 INPUT.WIDTH=320 --images 48
    python benchmarks/whole_runs.py --images 64 --report 64 --steps 10 --rounds 1     # a look

The network has new weights: a U-Net of 16 to 256 filters at 128x128, unless you type another, square. The ways through
the same images take turns; of each, a run over a quarter of the images is subtracted, so that start, building and
tracing do not count. The network alone has its batches in memory. An epoch has --steps steps; what is neither a step
nor validation is its overhead: waiting for data, log, curves, checkpoints.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nibabel
import numpy as np
from timed_commands import make_pairs, paths

from evaluate import evaluate
from models import build_model
from predict import predict
from train import train
from utils.base.closed_output import survive_closed_output
from utils.base.terminal import make_table, say, show
from utils.checkpoints import save_config, save_weights, weights_path
from utils.config import load_config

BATCH = 8
EPOCHS = 4  # the first is not measured
NETWORK = ("MODEL.TYPE=unet", "MODEL.FILTERS=[16,32,64,128,256]", "INPUT.HEIGHT=128", "INPUT.WIDTH=128")
QUIET = ("VERBOSE=0", "STRATEGY.NAME=single", "PREDICT.OVERWRITE=True", f"HYPER_PARAMETERS.BATCH_SIZE={BATCH}")

Ways = dict[str, Callable[[int], object]]


def make_ways(work: Path, settings: Sequence[str], numbers: tuple[int, int]) -> Ways:
    """`{name: function of the number of images}`, with the weights and data in `work`."""
    typed = (f"WORK_DIR={work}", *settings)
    cfg = load_config(typed)
    size = cfg.INPUT.HEIGHT
    network = build_model(cfg)
    weights_path(cfg).parent.mkdir(parents=True)
    save_weights(network, weights_path(cfg))
    save_config(cfg, weights_path(cfg))
    for number in numbers:
        make_pairs(work / str(number), number, 0, size, different=number)
        volume = np.random.default_rng(number).normal(0, 100, (size, size, number)).astype(np.float32)
        (work / f"scan{number}").mkdir()
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), work / f"scan{number}/scan.nii.gz")
    from data_generators import build_dataset
    from utils.devices.strategy import make_strategy
    from utils.inference.forward import make_forward
    from utils.training.trainer import build_trainer
    from utils.training.validation import build_validation

    strategy = make_strategy(cfg)
    forward = make_forward(network, strategy)
    batch = np.random.default_rng(0).random((BATCH, size, size, 3), dtype=np.float32)
    validations = {}
    for number in numbers:
        of_number = load_config([*typed, *paths("val", work / str(number))])
        dataset = build_dataset(of_number, "val", as_stored=True)
        validations[number] = build_validation(of_number, build_trainer(of_number, network, strategy), dataset)

    def alone(number: int) -> None:
        for _ in range(number // BATCH):
            for output in forward(batch).values():
                np.asarray(output)

    def predicted(source: str, *more: str) -> Callable[[int], object]:
        return lambda number: predict(load_config([*typed, f"PREDICT.INPUT={work}/{source.format(number)}", *more]))

    return {
        "network alone": alone,
        "validation of train.py": lambda number: validations[number](),
        "evaluate.py, report included": lambda number: evaluate(
            load_config([*typed, *paths("val", work / str(number))])
        ),
        "predict.py without pictures": predicted("{}/images", "PREDICT.PICTURES=False"),
        "predict.py with pictures": predicted("{}/images"),
        "predict.py, slices of a NIfTI volume": predicted("scan{}", "PREDICT.PICTURES=False"),
    }


def measure_images(work: Path, settings: Sequence[str], many: int, rounds: int) -> list[list[str]]:
    """Rows of the ways through images: images/s, and to those of the network alone."""
    few = many // 4 // BATCH * BATCH
    ways = make_ways(work, settings, (few, many))
    found: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(few)
    for number in range(rounds):
        for name, way in ways.items():
            say(f"round {number + 1} of {rounds}: {name}")
            times = []
            for images in (few, many):
                began = time.perf_counter()
                way(images)
                times.append(time.perf_counter() - began)
            found[name].append((many - few) / (times[1] - times[0]))
    speeds = {name: statistics.median(values) for name, values in found.items()}
    return [[name, f"{speed:.1f}", f"{speed / speeds['network alone']:.2f}"] for name, speed in speeds.items()]


def measure_report(work: Path, settings: Sequence[str], images: int) -> float:
    """Seconds that evaluate.py takes to write its results."""
    from utils.evaluation import output

    seconds, write = [], output.write_results

    def timed(*arguments, **options):
        began = time.perf_counter()
        folder = write(*arguments, **options)
        seconds.append(time.perf_counter() - began)
        return folder

    cfg = load_config([f"WORK_DIR={work}", *settings, *paths("val", work / "report")])
    make_pairs(work / "report", images, 0, cfg.INPUT.HEIGHT, different=images)
    output.write_results = timed
    evaluate(cfg)
    output.write_results = write
    return seconds[0]


def measure_epochs(work: Path, settings: Sequence[str], steps: int) -> list[str]:
    """`[seconds of a step, share of an epoch that is neither a step nor validation, of which waiting for data]`."""
    from utils.training.trainer import Trainer
    from utils.training.validation import Validation

    taken, validated, ends, waited = [], [], [], []
    take, validate, epoch = Trainer.train_on, Validation.__call__, Trainer.train_epoch

    def timed_step(trainer, batch):
        began = time.perf_counter()
        logs = take(trainer, batch)
        taken.append(time.perf_counter() - began)
        return logs

    def timed_epoch(trainer, *arguments):
        epoch(trainer, *arguments)
        waited.append(trainer.data_wait.waited)

    def timed_validation(validation):
        began = time.perf_counter()
        values = validate(validation)
        ends.append(time.perf_counter())
        validated.append(ends[-1] - began)
        return values

    Trainer.train_on, Trainer.train_epoch, Validation.__call__ = timed_step, timed_epoch, timed_validation
    typed = (f"WORK_DIR={work}/epochs", *settings, f"HYPER_PARAMETERS.EPOCHS={EPOCHS}", "augmentation=light")
    cfg = load_config([*typed, *paths("train", work / "train"), *paths("val", work / "val")])
    make_pairs(work / "train", steps * BATCH, 0, cfg.INPUT.HEIGHT, different=steps * BATCH)
    make_pairs(work / "val", BATCH, 1, cfg.INPUT.HEIGHT)
    train(cfg)
    Trainer.train_on, Trainer.train_epoch, Validation.__call__ = take, epoch, validate
    whole = ends[-1] - ends[0]
    rest = whole - sum(taken[steps:]) - sum(validated[1:])
    return [f"{statistics.median(taken[steps:]):.3f}", f"{rest / whole:.1%}", f"{sum(waited[1:]) / whole:.1%}"]


@survive_closed_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="and slices of the volume (default 1000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=int, default=2000, help="images of the report (default 2000)")
    parser.add_argument("--steps", type=int, default=100, help="of an epoch (default 100)")
    options, typed = parser.parse_known_args()
    settings = (*(typed or NETWORK), *QUIET)
    before = " ".join(f"{load:.1f}" for load in os.getloadavg())
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows = measure_images(work, settings, options.images // BATCH * BATCH, options.rounds)
        say("report and epochs")
        seconds = measure_report(work, settings, options.report)
        step, rest, waited = measure_epochs(work, settings, options.steps)
    show(make_table(["way", "images/s", "to the network"], rows))
    print(f"report of {options.report} images: {seconds:.1f} s")
    share = f"{rest} of it neither step nor validation, {waited} waiting for data"
    print(f"epoch of {options.steps} steps of {step} s: {share}")
    print(f"load before: {before}, after: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")


if __name__ == "__main__":
    main()
