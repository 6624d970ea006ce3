"""Add a measured run to the results: python benchmarks/results.py RUN_FOLDER

RUN_FOLDER holds the weights of a run that train.py finished and evaluate.py scored: `checkpoint`. Each such run in it
gets a page, docs/results/<name>.md, with the small files that it shows in docs/results/<name>/. The summary table, the
table of experiments and the navigation follow. Without RUN_FOLDER all pages are written anew from the files there.

    python benchmarks/results.py work/checkpoint                     # the data is found from work/
    python benchmarks/results.py work/checkpoint --names lgg_unet    # this run only
    python benchmarks/results.py                                     # after a change of pages or of published.yaml
"""

import argparse
import contextlib
import csv
import functools
import json
import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from omegaconf import DictConfig, OmegaConf
from results_pages import read_data_set, write_pages

from data_generators.files.pairing import find_pairs
from data_generators.files.volume_slices import find_volumes
from data_generators.reading.decoding import to_unit_range
from data_generators.reading.samples import ReadSettings, read_pair
from data_preparation.common.command_line import errors_in_one_line
from utils.base.closed_output import survive_closed_output
from utils.base.errors import UserError
from utils.base.learning_curves import draw_curves
from utils.base.pictures import displayable, titled
from utils.checkpoints import restore_config
from utils.checkpoints.paths import OF_FOLDS, companion_path, log_path, weights_path
from utils.checkpoints.training_log import read_history
from utils.config import load_config
from utils.config.class_names import has_background, mask_class_names
from utils.config.folds import fold_configs
from utils.config.overrides import command_line, override_key, split_override, text_override
from utils.inference.comparison import compare, fit
from utils.inference.mask_meaning import MaskMeaning

PROJECT = Path(__file__).resolve().parent.parent
PLACES = ("WORK_DIR", "CALLBACKS.MODEL_CHECKPOINT.PATH", "CALLBACKS.CSV_LOGGER.PATH")  # replaced by RUN_FOLDER
LARGEST_PICTURE = 100_000  # bytes
PANEL = 192  # pixels of the longer side of an image in the pictures
QUALITIES = (85, 70, 55, 40)  # of JPEG, the first that is small enough
SHOWN = 2  # cases each of the worst, the median and the best
COLUMNS = 2  # of the pictures


@survive_closed_output()
def main(arguments: Sequence[str] | None = None, project: Path = PROJECT) -> None:
    """The command; pages are written to `docs/results` of `project`, and listed in its mkdocs.yml."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_folder", nargs="?", type=Path, help="the folder with <weights>.run.json")
    parser.add_argument("--names", nargs="+", help="only the runs of these names")
    parser.add_argument("--work-dir", type=Path, help="WORK_DIR of the run (default: the parent of RUN_FOLDER)")
    options = parser.parse_args(arguments)
    with errors_in_one_line():
        if options.run_folder is not None:
            folder = options.run_folder.resolve()
            for name in find_runs(folder, options.names):
                work_dir = folder.parent if options.work_dir is None else options.work_dir.resolve()
                add_run(folder, work_dir, name, project / "docs/results" / name)
        for page in write_pages(project):
            print(page)


def find_runs(folder: Path, names: Sequence[str] | None) -> list[str]:
    """The names of the runs in a folder that are evaluated.

    Raises:
        UserError: there is none, or not one of the names.
    """
    evaluated = [path.parent.name for path in folder.glob("*.evaluation/evaluation.json")]
    found = sorted({name.removesuffix(".evaluation").removesuffix(".folds") for name in evaluated})
    missing = [name for name in names or () if name not in found]
    if missing or not found:
        raise UserError(
            f"{folder}: no evaluation of {', '.join(missing) or 'any run'}, such as <name>.evaluation/evaluation.json. "
            f"There are: {', '.join(found) or 'none'}. Run evaluate.py first, or name another folder."
        )
    return list(names or found)


def add_run(folder: Path, work_dir: Path, name: str, target: Path) -> None:
    """Write all that the page of a run needs to the folder `target`: result.json, tables and pictures.

    Args:
        folder: with the weights, or with fold0, fold1, ... if all folds were evaluated together.
        work_dir: of the run; relative paths of the data are below it.
        name: of the weights.
        target: is replaced.
    """
    data_set = read_data_set(name)
    pooled = folder / f"{name}{OF_FOLDS}"
    evaluated = pooled if pooled.exists() else folder / f"{name}.evaluation"
    evaluation = read_json(evaluated / "evaluation.json")
    folds = restore_folds(evaluation, folder, work_dir)
    training = [read_json(companion_path(weights_path(fold), ".run.json")) for fold in folds]
    histories = [read_history(fold) for fold in folds]
    if None in histories:
        raise UserError(f"{log_path(folds[histories.index(None)])}: has no rows of the run that trained {name}.")
    split = list(evaluation["splits"])[-1]
    with replaced(target) as new:
        write_split(folds, list(evaluation["splits"]), new / "split.csv")
        for number, (fold, history, run) in enumerate(zip(folds, histories, training, strict=True)):
            label = f"_fold{number}" if len(folds) > 1 else ""
            copy_rounded(log_path(fold), new / f"log{label}.csv")
            if number == 0:
                figure = draw_curves(history, f"{name}{label}", run["best"]["epoch"], mask_class_names(fold))
                figure.savefig(new / "curves.jpg", dpi=75, pil_kwargs={"quality": 80})
        if (evaluated / "per_volume.csv").exists():
            shutil.copyfile(evaluated / "per_volume.csv", new / "per_volume.csv")
        if data_set["thumbnails"]:
            drawn = draw_images(choose_images(evaluated, split), folds, split)
            write_picture(arrange(drawn, COLUMNS), new / "pictures.jpg")
        result = {
            "name": name,
            "classes": mask_class_names(folds[0]),
            "epochs": [len(history["loss"]) for history in histories],
            "batch_size": folds[0].HYPER_PARAMETERS.BATCH_SIZE,
            "training": [without_places(run, name) for run in training],
            "evaluation": without_places(evaluation, name),
            "rules": find_rules(evaluation, has_background(folds[0])),
        }
        if "batches" in data_set:
            result["batches"] = mean_over_batches(read_table(evaluated / "per_image.csv"), data_set["batches"])
        (new / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def copy_rounded(log: Path, copy: Path) -> None:
    """Copy a CSV file with six digits of each number that has a decimal point."""
    text = re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda number: f"{float(number[0]):.6g}", log.read_text(encoding="utf-8"))
    copy.write_text(text, encoding="utf-8")


def without_places(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A record of a run whose command and overrides say nothing of the machine.

    Left out is where the data of an experiment are, where it works and how much it prints. What the experiment does not
    name, true objects and folds, lies beside the data that the run's `name` begins with. Of other absolute paths the
    last two parts stay.
    """
    _, script, *typed = shlex.split(record["command"])
    experiment = [text for text in typed if text.startswith("+experiment=")]
    of_experiment = load_config(experiment).DATASET if experiment else None
    beside = f"/data/{name.partition('_')[0]}"

    def kept(overrides: Sequence[str]) -> list[str]:
        left = []
        for override in overrides:
            key, value = split_override(override)
            if key in (*PLACES, "VERBOSE"):
                continue
            path = Path(value)
            if of_experiment and (key == "DATASET.FOLDS" or (key.startswith("DATASET.") and key.endswith("_PATH"))):
                if OmegaConf.select(of_experiment, key.removeprefix("DATASET.")) is None:
                    place = "folds" if key == "DATASET.FOLDS" else "/".join(path.parts[-2:])
                    left.append(f"{key}={beside}/{place}")
            else:
                left.append(f"{key}={'/'.join(path.parts[-2:])}" if path.is_absolute() else override)
        return left

    clean = {**record, "command": command_line(script, kept(typed))}
    return {**clean, "overrides": kept(record["overrides"])} if "overrides" in record else clean


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` at the end, unless an error comes."""
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def restore_folds(evaluation: Mapping[str, Any], folder: Path, work_dir: Path) -> list[DictConfig]:
    """The configs that an evaluation restored, one per fold, for other places of the weights and the data."""
    typed = [text for text in shlex.split(evaluation["command"])[2:] if override_key(text) not in PLACES]
    places = [text_override(key, str(work_dir if key == "WORK_DIR" else folder)) for key in PLACES]
    return [restore_config(fold) for fold in fold_configs(load_config([*typed, *places, "VERBOSE=0"]))]


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: train and evaluate the run to its end first.") from None
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({error}). Run the command that writes it again.") from None


def find_rules(evaluation: Mapping[str, Any], background: bool) -> dict[str, str]:
    """How each score of all images together averages, by its name; scores of single classes are left out."""
    from losses import averaging

    names = {name for entry in evaluation["splits"].values() for name in entry["scores"]}
    rules = {name: averaging(name, background) for name in sorted(names) if not re.search(r"_class\d+$", name)}
    return {name: rule for name, rule in rules.items() if rule}


def write_split(folds: Sequence[DictConfig], evaluated: Sequence[str], path: Path) -> None:
    """Write which volumes, or images where there are none, are in which split; of folds those of each validation."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("split", "name", "images"))
        for number, fold in enumerate(folds):
            for split in ("val",) if len(folds) > 1 else dict.fromkeys(("train", *evaluated)):
                pairs = find_pairs(fold, split)
                places, _ = find_volumes(fold, pairs)
                names = [pair.image.name for pair in pairs] if places is None else [place.volume for place in places]
                label = f"fold{number}" if len(folds) > 1 else split
                writer.writerows((label, name, count) for name, count in Counter(names).items())


def mean_over_batches(images: Sequence[Mapping[str, str]], size: int) -> dict[str, dict[str, float]]:
    """`{split: {"IoU", "Dice"}}` of class 1 as some programs average: over batches of `size` images in their order.

    All pixels of a batch count together, a batch without the class in truth and prediction counts 1, and a batch
    weighs as much as it has images.
    """
    found = {}
    for split in dict.fromkeys(row["split"] for row in images):
        counts = np.array(
            [
                [int(row[f"{kind}_class1"]) for kind in ("true", "predicted", "common")]
                for row in images
                if row["split"] == split
            ]
        )
        parts = [counts[first : first + size] for first in range(0, len(counts), size)]
        true, predicted, common = np.array([part.sum(0) for part in parts]).T
        both = true + predicted
        weights = [len(part) for part in parts]
        dice = np.where(both == 0, 1, 2 * common / np.maximum(both, 1))
        iou = np.where(both == 0, 1, common / np.maximum(both - common, 1))
        found[split] = {
            "IoU": float(np.average(iou, weights=weights)),
            "Dice": float(np.average(dice, weights=weights)),
        }
    return found


def choose_images(evaluated: Path, split: str) -> list[tuple[str, int]]:
    """The worst, median and best cases by mean Dice of their classes: what they are, and the number of an image.

    Of a volume it is the slice with most foreground. Cases without foreground are left out.

    Args:
        evaluated: the folder of the evaluation.
        split: of its tables.
    """
    images = [row for row in read_table(evaluated / "per_image.csv") if row["split"] == split]
    volumes = [row for row in read_table(evaluated / "per_volume.csv") if row["split"] == split]
    dices = [(row, dice) for row in volumes or images if (dice := mean_dice(row)) is not None]
    ranked = [row for row, _ in sorted(dices, key=lambda pair: pair[1])]
    shown = max(1, min(SHOWN, len(ranked) // 3))  # none twice
    middle = max(0, (len(ranked) - shown) // 2)
    parts = {"worst": ranked[:shown], "median": ranked[middle:][:shown], "best": ranked[-shown:]}
    label = "volume" if volumes else "image"
    captions: dict[int, str] = {}  # by number of image: of two cases one is also the median
    for what, rows in parts.items():
        for row in rows:
            captions.setdefault(image_of(row, images) if volumes else images.index(row), f"{what}: {row[label]}")
    return [(caption, number) for number, caption in captions.items()]


def image_of(volume: Mapping[str, str], images: Sequence[Mapping[str, str]]) -> int:
    """The number of the slice of a volume with most true foreground."""
    slices = [number for number, row in enumerate(images) if row["volume"] == volume["volume"]]
    return max(slices, key=lambda number: sum(int(value) for value in class_columns(images[number], "true")))


def mean_dice(row: Mapping[str, str]) -> float | None:
    """The mean Dice of the classes of a case; None where none is defined."""
    dices = [float(text) for text in class_columns(row, "dice") if text]
    return sum(dices) / len(dices) if dices else None


def class_columns(row: Mapping[str, str], kind: str) -> list[str]:
    """The values of `dice_class1`, `dice_class2`, ... of a row."""
    return [value for name, value in row.items() if name.startswith(f"{kind}_class")]


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV; none if there is no such file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw_images(chosen: Sequence[tuple[str, int]], folds: Sequence[DictConfig], split: str) -> list[np.ndarray]:
    """Predict images and draw each beside truth and errors: `(height, width, 3)` uint8 RGB, captions above.

    Args:
        chosen: caption and number of each image, counted over the pairs of all folds in turn.
        folds: restored configs, each with weights of its own.
        split: of the images.
    """
    from utils.inference.class_indices import class_indices
    from utils.inference.predictor import Predictor

    pairs = [(number, pair) for number, fold in enumerate(folds) for pair in find_pairs(fold, split)]
    predictor = functools.cache(lambda number: Predictor([folds[number]]))
    drawn = []
    for caption, position in chosen:
        number, pair = pairs[position]
        cfg = folds[number]
        meaning = MaskMeaning.from_config(cfg, mask_class_names(cfg))
        reading = ReadSettings.from_config(cfg, whole_images=not cfg.PREPROCESS_DATA.RESIZE.VALUE)
        image, truth = read_pair(pair, reading)
        predicted = class_indices(predictor(number).predict_image(image), multi_label=meaning.multi_label)
        picture = displayable(to_unit_range(image), cfg.SHOW_CENTER_CHANNEL_IMAGE)
        parts = (fit(part, PANEL) for part in (picture, truth, predicted))
        drawn.append(titled(compare(*parts, meaning), caption))
    return drawn


def arrange(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of any size in rows, padded with black to the largest."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    cells = [np.pad(p, ((0, height - p.shape[0]), (0, width - p.shape[1]), (0, 0))) for p in pictures]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[first : first + columns]) for first in range(0, len(cells), columns)])


def write_picture(picture: np.ndarray, path: Path) -> None:
    """Write an RGB picture as JPEG of at most LARGEST_PICTURE bytes: coarser first, then smaller."""
    while True:
        for quality in QUALITIES:
            flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
            data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)[1].tobytes()
            if len(data) <= LARGEST_PICTURE:
                path.write_bytes(data)
                return
        picture = cv2.resize(picture, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
