"""Train nnU-Net's 2-D network for some minutes on volumes in the Decathlon layout, and score it on given volumes.

    nnunet/bin/python benchmarks/peers/nnunet.py Task04_Hippocampus work --validation fold0_val_images.txt --minutes 8

Run it with the Python of an environment with benchmarks/peers/requirements-nnunet.txt. It plans and preprocesses with
nnU-Net's own commands (not in the minutes), trains fold 0 of configuration 2d with nnU-Net's trainer, whose learning
rate falls with the time that has passed instead of with 1000 epochs of 250 steps, and prints nnU-Net's own Dice of each
validation volume. --validation is a list of slices, as data_preparation/split.py writes them for a fold: the volumes
they are of are held out, all others train.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DATASET, STEPS, VALIDATION_STEPS = "Dataset004_Peer", 10, 1  # steps of what it calls an epoch
PARTS = 1000  # in which the time is divided for the learning rate


class TimeOver(Exception):
    """The minutes are over."""


def prepare(source: Path, folder: Path, held_out: set[str]) -> None:
    """Links in nnU-Net's layout, its dataset.json and the split."""
    described = json.loads((source / "dataset.json").read_text())
    raw, preprocessed = folder / "raw" / DATASET, folder / "preprocessed" / DATASET
    names = sorted(Path(entry["image"]).name.removesuffix(".nii.gz") for entry in described["training"])
    if missing := held_out - set(names):
        raise SystemExit(f"--validation names volumes that {source} lacks: {', '.join(sorted(missing)[:5])}")
    for kind in ("imagesTr", "labelsTr"):
        (raw / kind).mkdir(parents=True, exist_ok=True)
        for name in names:
            link = raw / kind / f"{name}{'_0000' if kind == 'imagesTr' else ''}.nii.gz"
            link.unlink(missing_ok=True)
            link.symlink_to((source / kind / f"{name}.nii.gz").resolve())
    facts = {
        "channel_names": described["modality"],
        "labels": {name: int(label) for label, name in described["labels"].items()},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(facts))
    preprocessed.mkdir(parents=True, exist_ok=True)
    split = {"train": [name for name in names if name not in held_out], "val": sorted(held_out)}
    (preprocessed / "splits_final.json").write_text(json.dumps([split]))


def volumes_of(slices: Path) -> set[str]:
    """The volumes that a list of slices `image_<volume>_<slice>.png` is of."""
    found = (re.search(r"image_(.+)_\d+\.\w+$", line.strip()) for line in slices.read_text().splitlines())
    return {match.group(1) for match in found if match}


def train(minutes: float, started: float) -> Path:
    """Train until so many minutes after `started`, then score; return nnU-Net's summary of the scores."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    trainer: Any = get_trainer_from_args(DATASET, "2d", 0, device=torch.device("cpu"))
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = STEPS, VALIDATION_STEPS
    trainer.num_epochs, trainer.save_every = PARTS * PARTS, PARTS * PARTS
    step, make, steps = trainer.train_step, trainer.configure_optimizers, [0]

    def configure() -> Any:
        trainer.num_epochs = PARTS  # the scheduler's length, in parts of the time
        optimizer, scheduler = make()
        trainer.num_epochs = PARTS * PARTS
        return optimizer, TimedScheduler(scheduler, minutes, started)

    def timed_step(batch: Any) -> Any:
        if time.time() - started > 60 * minutes:
            raise TimeOver
        steps[0] += 1
        return step(batch)

    trainer.configure_optimizers, trainer.train_step = configure, timed_step
    try:
        trainer.run_training()
    except TimeOver:
        trainer.on_train_end()
    seconds = time.time() - started
    plan = trainer.configuration_manager
    print(f"trained {steps[0]} steps of {plan.batch_size} slices of {plan.patch_size} in {seconds:.0f} s", flush=True)
    trainer.perform_actual_validation()
    return Path(trainer.output_folder) / "validation" / "summary.json"


class TimedScheduler:
    """nnU-Net's schedule, told how much of the time has passed instead of the epoch."""

    def __init__(self, scheduler: Any, minutes: float, started: float) -> None:
        self.scheduler, self.seconds, self.started = scheduler, 60 * minutes, started

    def step(self, _: int) -> None:
        self.scheduler.step(min(PARTS - 1, int(PARTS * (time.time() - self.started) / self.seconds)))


def main() -> None:
    started = time.time()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with dataset.json, imagesTr and labelsTr")
    parser.add_argument("folder", type=Path, help="for all that nnU-Net writes")
    parser.add_argument("--validation", type=Path, required=True, help="list of slices of the volumes to hold out")
    parser.add_argument("--minutes", type=float, default=8, help="of training, from the start of its process")
    parser.add_argument("--train-only", action="store_true", help="the folder is prepared already")
    options = parser.parse_args()
    for kind in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{kind}"] = str((options.folder / kind).resolve())
    os.environ.setdefault("nnUNet_n_proc_DA", "2")
    if not options.train_only:
        prepare(options.source, options.folder, volumes_of(options.validation))
        command = [Path(sys.executable).parent / "nnUNetv2_plan_and_preprocess", "-d", "4", "-c", "2d", "-np", "2"]
        subprocess.run(command, check=True)
        print(f"prepared in {time.time() - started:.0f} s", flush=True)
        again = [sys.executable, __file__, *sys.argv[1:], "--train-only"]
        raise SystemExit(subprocess.run(again, check=False).returncode)
    summary = json.loads(train(options.minutes, started).read_text())
    for label, name in ((1, "class 1"), (2, "class 2")):
        scores = [case["metrics"][str(label)]["Dice"] for case in summary["metric_per_case"]]
        print(f"Dice of a volume, {name}: mean {statistics.fmean(scores):.4f} of {len(scores)} volumes")


if __name__ == "__main__":
    main()
