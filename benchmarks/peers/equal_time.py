"""Ours and segmentation_models.pytorch for the same time on the same pictures, batch and weights to start with.

    python benchmarks/peers/equal_time.py pets data/pets --minutes 4 --peers-python peers/bin/python \\
        --weights mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5

Run it in the application's environment; --peers-python is that of an environment with
benchmarks/peers/requirements.txt. Both train a U-Net on MobileNetV2, with the decoder of their own, by cross-entropy
and Dice, Adam at one rate and the augmentation `light`, in turns of 20 s, and are scored on all validation images after
every epoch. The clock of each runs from its command to the score, start included, while it is its turn.
segmentation_models.pytorch needs sides that are multiples of 32: it pads, and the padding is not scored.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from turns import Program, take_turns

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent

SCORE = "iou_all_classes"
OURS, PEER = "ours", "segmentation_models.pytorch"
# name -> what both need to know of the pictures, the rate, and the scores whose time is told
TASKS: dict[str, dict[str, Any]] = {
    "pets": {
        "size": (128, 128),
        "classes": 3,
        "ignored": 255,
        "batch": 16,
        "rate": 5e-4,
        "reach": (0.5, 0.6, 0.65, 0.7),
    },
    "camvid": {
        "size": (360, 480),
        "classes": 11,
        "ignored": 11,
        "batch": 4,
        "rate": 5e-4,
        "reach": (0.2, 0.3, 0.4, 0.5),
    },
}


def our_settings(options: argparse.Namespace, folder: Path) -> list[str]:
    """What is typed after `train.py`."""
    task, data = TASKS[options.task], options.data.resolve()
    height, width = task["size"]
    return [
        f"WORK_DIR={folder}",
        "MODEL.TYPE=unet",
        "MODEL.BACKBONE.TYPE=mobilenetv2",
        f"MODEL.BACKBONE.WEIGHTS={options.weights.resolve() if options.weights else 'null'}",
        "MODEL.L2=0",
        *(f"DATASET.{split.upper()}.IMAGES_PATH={data}/{split}/images" for split in ("train", "val", "test")),
        *(f"DATASET.{split.upper()}.MASK_PATH={data}/{split}/mask" for split in ("train", "val", "test")),
        f"DATASET.IGNORE_LABEL={task['ignored']}",
        "PREPROCESS_DATA.RESIZE.VALUE=True",
        f"INPUT.HEIGHT={height}",
        f"INPUT.WIDTH={width}",
        f"OUTPUT.CLASSES={task['classes']}",
        "OUTPUT.BACKGROUND=False",
        "SHOW_CENTER_CHANNEL_IMAGE=False",
        f"HYPER_PARAMETERS.BATCH_SIZE={task['batch']}",
        f"HYPER_PARAMETERS.LEARNING_RATE={task['rate']}",
        "HYPER_PARAMETERS.EPOCHS=100000",
        "CALLBACKS.EARLY_STOPPING.PATIENCE=null",
        f"CALLBACKS.MODEL_CHECKPOINT.MONITOR={SCORE}",
        "loss=cce_dice",
        "augmentation=light",
        "VERBOSE=2",
        *options.ours,
    ]


def peer_command(options: argparse.Namespace, log: Path) -> list[str]:
    task = TASKS[options.task]
    return [
        *(options.peers_python, str(HERE / "train_smp.py"), str(options.data), str(log)),
        *("--size", *map(str, task["size"]), "--classes", str(task["classes"]), "--ignored", str(task["ignored"])),
        *("--batch", str(task["batch"]), "--rate", str(task["rate"])),
        *(("--weights", str(options.weights)) if options.weights else ()),
    ]


def read_ours(folder: Path) -> list[float]:
    for file in folder.glob("checkpoint/training_logs_*.csv"):
        with file.open(newline="") as rows:
            return [float(row[f"val_{SCORE}"]) for row in csv.DictReader(rows)]
    return []


def read_peer(log: Path) -> list[float]:
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [entry[SCORE] for entry in found if SCORE in entry]


def compare(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Train both; return a row for each."""
    ours, peer_log = folder / "ours", folder / "peer.jsonl"
    ours.mkdir()
    settings = our_settings(options, ours)
    programs = [
        Program(
            OURS,
            [sys.executable, str(PROJECT / "train.py"), *settings],
            ours / "log",
            lambda: read_ours(ours),
            options.cpu,
        ),
        Program(PEER, peer_command(options, peer_log), folder / "peer.log", lambda: read_peer(peer_log), options.cpu),
    ]
    take_turns(programs, 60 * options.minutes)
    for program in programs:
        if not program.scores:
            raise SystemExit(f"{program.name} ended no epoch in {options.minutes:g} minutes: give both more --minutes.")
    splits = [split for split in ("val", "test") if (options.data / split).exists()]
    found = {OURS: evaluate_ours(settings, splits, ours), PEER: json.loads(peer_log.read_text().splitlines()[-1])}
    images = len(list((options.data / "train" / "images").iterdir()))
    return [row(program, found[program.name], images, options) for program in programs]


def evaluate_ours(settings: Sequence[str], splits: Sequence[str], folder: Path) -> dict[str, dict[str, float]]:
    names = [setting for setting in settings if setting.startswith(("WORK_DIR", "MODEL.TYPE", "DATASET.", "VERBOSE"))]
    command = [sys.executable, str(PROJECT / "evaluate.py"), *names, f"EVALUATION.SPLITS=[{','.join(splits)}]"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (result,) = folder.glob("checkpoint/*.evaluation/evaluation.json")
    return {name: entry["scores"] for name, entry in json.loads(result.read_text())["splits"].items()}


def row(program: Program, final: dict[str, Any], images: int, options: argparse.Namespace) -> dict[str, Any]:
    """What the table shows; images/s from the first epoch's end on, validation and saving included."""
    scores = program.scores
    rate = images * (len(scores) - 1) / (scores[-1].seconds - scores[0].seconds) if len(scores) > 1 else None
    return {
        "program": program.name,
        "epochs": len(scores),
        "first epoch s": scores[0].seconds if scores else None,
        "images/s": rate,
        "peak GiB": program.peak_gib,
        "reached after s": {
            str(goal): next((score.seconds for score in scores if score.value >= goal), None)
            for goal in TASKS[options.task]["reach"]
        },
        "final": {split: {name: values[name] for name in (SCORE, "pixel_accuracy")} for split, values in final.items()},
        "curve": scores,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    goals, splits = list(rows[0]["reached after s"]), list(rows[0]["final"])
    heads = ["program", "epochs", "first epoch s", "images/s", "peak GiB"]
    heads += [f"mIoU {goal} after s" for goal in goals]
    heads += [f"{split} {name}" for split in splits for name in ("mIoU", "accuracy")]
    lines = [heads, ["---"] * len(heads)]
    for found in rows:
        times = [found["reached after s"][goal] for goal in goals]
        scores = [value for split in splits for value in found["final"][split].values()]
        lines.append(
            [found["program"], str(found["epochs"])]
            + [shown(found["first epoch s"], 0), shown(found["images/s"], 1), shown(found["peak GiB"], 2)]
            + [shown(value, 0) for value in times]
            + [shown(value, 3) for value in scores]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def shown(value: float | None, digits: int) -> str:
    return "not" if value is None else f"{value:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", type=Path, help="folder with train, val and perhaps test: images and mask in each")
    parser.add_argument("--minutes", type=float, default=4, help="of each")
    parser.add_argument(
        "--cpu", action="store_true", help="count seconds of the cores, divided by their number: on a busy machine"
    )
    parser.add_argument("--weights", type=Path, help="Keras's MobileNetV2 weights, .h5; without them both from scratch")
    parser.add_argument("--peers-python", required=True, help="the Python with benchmarks/peers/requirements.txt")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the figures and curves as JSON")
    parser.add_argument("--ours", nargs="*", default=[], metavar="KEY=VALUE", help="more settings of train.py")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that both programs are ended, too
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(options, Path(folder))
    clock = "seconds of the cores divided by their number" if options.cpu else "seconds of their turns"
    load = f"{clock}; load {before:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} cores"
    if options.out:
        options.out.write_text(json.dumps({"task": options.task, "load": load, "rows": rows}, indent=1) + "\n")
    print(f"\n{options.task}, {options.minutes:g} minutes each; {load}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
