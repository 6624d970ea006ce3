"""Train nnU-Net's 2-D network for some minutes on volumes in the Decathlon layout, and score it on given volumes.

    nnunet/bin/python benchmarks/peers/nnunet.py Task04_Hippocampus work --validation fold0_val_images.txt --minutes 8

Run it with the Python of an environment with benchmarks/peers/requirements-nnunet.txt. It plans and preprocesses with
nnU-Net's own commands (not in the minutes), trains fold 0 of configuration 2d with nnU-Net's trainer, whose learning
rate falls with the time that has passed instead of with 1000 epochs of 250 steps, and prints nnU-Net's own Dice of each
validation volume. After each 10 steps it prints the Dice that nnU-Net estimates from one validation batch, and at the
end the peak memory of its processes. Minutes are those of the processor, so that other work on the machine does not
shorten the training. --validation is a list of slices, as data_preparation/split.py writes them for a fold: the volumes
they are of are held out, all others train.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from turns import cpu_seconds, memory_gib

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


def used() -> float:
    """Seconds of the processor that this process and its workers have used."""
    return cpu_seconds(os.getpid()) * (os.cpu_count() or 1)


def train(minutes: float) -> Path:
    """Train until this process has used so many minutes, then score; return nnU-Net's summary of the scores."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    trainer: Any = get_trainer_from_args(DATASET, "2d", 0, device=torch.device("cpu"))
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = STEPS, VALIDATION_STEPS
    trainer.num_epochs, trainer.save_every = PARTS * PARTS, PARTS * PARTS
    step, make, end, steps, peak = trainer.train_step, trainer.configure_optimizers, trainer.on_epoch_end, [0], [0.0]

    def configure() -> Any:
        trainer.num_epochs = PARTS  # the scheduler's length, in parts of the time
        optimizer, scheduler = make()
        trainer.num_epochs = PARTS * PARTS
        return optimizer, TimedScheduler(scheduler, minutes)

    def timed_step(batch: Any) -> Any:
        if used() > 60 * minutes:
            raise TimeOver
        steps[0] += 1
        return step(batch)

    def timed_end() -> None:
        end()
        peak[0] = max(peak[0], memory_gib(os.getpid()))
        dices = trainer.logger.get_value("dice_per_class_or_region", step=-1)
        print(
            f"after {steps[0]} steps, {used():.0f} s: estimated Dice {[round(float(d), 3) for d in dices]}", flush=True
        )

    trainer.configure_optimizers, trainer.train_step, trainer.on_epoch_end = configure, timed_step, timed_end
    try:
        trainer.run_training()
    except TimeOver:
        trainer.on_train_end()
    plan = trainer.configuration_manager
    images = f"{steps[0]} steps of {plan.batch_size} slices of {plan.patch_size}"
    print(f"trained {images} in {used():.0f} s, {steps[0] * plan.batch_size / used():.1f} images/s", flush=True)
    print(f"peak memory {peak[0]:.2f} GiB", flush=True)
    trainer.perform_actual_validation()
    return Path(trainer.output_folder) / "validation" / "summary.json"


class TimedScheduler:
    """nnU-Net's schedule, told how much of the time has passed instead of the epoch."""

    def __init__(self, scheduler: Any, minutes: float) -> None:
        self.scheduler, self.seconds = scheduler, 60 * minutes

    def step(self, _: int) -> None:
        self.scheduler.step(min(PARTS - 1, int(PARTS * used() / self.seconds)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with dataset.json, imagesTr and labelsTr")
    parser.add_argument("folder", type=Path, help="for all that nnU-Net writes")
    parser.add_argument("--validation", type=Path, required=True, help="list of slices of the volumes to hold out")
    parser.add_argument("--minutes", type=float, default=8, help="of the processor, start included")
    parser.add_argument("--train-only", action="store_true", help="the folder is prepared already")
    options = parser.parse_args()
    for kind in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{kind}"] = str((options.folder / kind).resolve())
    os.environ.setdefault("nnUNet_n_proc_DA", "2")
    if not options.train_only:
        prepare(options.source, options.folder, volumes_of(options.validation))
        command = [Path(sys.executable).parent / "nnUNetv2_plan_and_preprocess", "-d", "4", "-c", "2d", "-np", "2"]
        subprocess.run(command, check=True)
        print(f"prepared in {used():.0f} s", flush=True)
        again = [sys.executable, __file__, *sys.argv[1:], "--train-only"]
        raise SystemExit(subprocess.run(again, check=False).returncode)
    summary = json.loads(train(options.minutes).read_text())
    for label, name in ((1, "class 1"), (2, "class 2")):
        scores = [case["metrics"][str(label)]["Dice"] for case in summary["metric_per_case"]]
        print(f"Dice of a volume, {name}: mean {statistics.fmean(scores):.4f} of {len(scores)} volumes")


if __name__ == "__main__":
    main()
