"""Predict masks: python predict.py MODEL.TYPE=unet3plus PREDICT.INPUT=FOLDER

What needs Keras or SciPy is imported inside functions, so that --help and config errors do without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from data_generators.files.class_labels import image_list
from data_generators.files.preparation_check import check_preparation
from utils.base.errors import PartlyDone, UserError
from utils.base.files import writable_folder
from utils.checkpoints import ENDING, weights_path
from utils.config.class_names import mask_class_names
from utils.config.command import command
from utils.config.folds import ALL
from utils.devices.failures import explain_failures
from utils.devices.strategy import make_strategy
from utils.inference.members import restore_members
from utils.inference.uncertainty.members import MemberSettings

if TYPE_CHECKING:
    from utils.inference.output import Output
    from utils.inference.sources import Source


def predict(cfg: DictConfig) -> Path:
    """Predict what PREDICT.INPUT names, or every image of DATASET.VAL; see PREDICT in configs/config.yaml.

    The model is rebuilt from the config beside the weights; `cfg` changes only what was typed.

    Returns:
        The folder written: `masks/<name>` (class indices as values; PNG for a picture, TIFF for a stack, NIfTI for a
        volume), `color_masks/` and `pictures/` to look at (image, truth and prediction, errors side by side), the
        table `predictions.csv`; for a classifier `labels.csv`.

    Raises:
        UserError: bad settings or weights, or nothing could be predicted.
        PartlyDone: some files are bad; the others are done.

    Example, after `make demo`:
        >>> from utils.config import load_config  # doctest: +SKIP
        >>> folder = predict(load_config(["WORK_DIR=demo", "MODEL.TYPE=tiny_unet3plus"]))  # doctest: +SKIP
        Predicted ... in ...
        >>> (folder / "predictions.csv").exists()  # doctest: +SKIP
        True
    """
    if cfg.DATASET.FOLD == ALL and cfg.PREDICT.INPUT is None:
        raise UserError("DATASET.FOLD=all predicts with the networks of all folds: set PREDICT.INPUT to new images.")
    from utils.inference.find_sources import find_sources
    from utils.inference.image_sources import ImageSource
    from utils.inference.sources import SourceSettings

    members = restore_members(cfg)
    trained = members[0]
    MemberSettings.from_configs(members)  # refuses, before a network is built
    sources = find_sources(trained, images=image_list(trained, "val") if is_classifier(trained) else None)
    check_preparation(trained, [source.path for source in sources if isinstance(source, ImageSource)])
    folder = writable_folder(trained, cfg.PREDICT.OUTPUT_PATH, "PREDICT.OUTPUT_PATH")
    output = make_output(members, folder / weights_path(cfg).name.removesuffix(ENDING))
    make_strategy(trained)

    from utils.inference.output import MaskOutput
    from utils.inference.prediction import predict_sources
    from utils.inference.predictor import Predictor
    from utils.inference.select_images import select_images

    predictor, reading = Predictor(members), SourceSettings.from_config(trained)
    try:
        with output, explain_failures(trained):
            problems = predict_sources(predictor, sources, reading, output, cfg.DATALOADER_WORKERS, bool(cfg.VERBOSE))
            if trained.PREDICT.SELECT and isinstance(output, MaskOutput) and output.expected:
                count, workers = trained.PREDICT.SELECT, cfg.DATALOADER_WORKERS
                chosen = select_images(predictor, output.expected, reading, count, workers, output.folder)
                output.notes.append(chosen)
    except OSError as error:
        raise UserError(f"{error.filename or output.folder}: cannot be written: {error.strerror}.") from None
    report(output, sources, problems)
    return output.folder


def is_classifier(cfg: DictConfig) -> bool:
    return cfg.MODEL.TYPE == "classifier"


def make_output(members: Sequence[DictConfig], folder: Path) -> Output:
    """What is written for the networks of restored configs."""
    from utils.inference.output import LabelOutput, MaskOutput

    cfg = members[0]
    if is_classifier(cfg):
        return LabelOutput.from_config(cfg, folder, list(cfg.OUTPUT.CLASS_NAMES))
    return MaskOutput.from_config(cfg, folder, mask_class_names(cfg), members=members)


def report(output: Output, sources: Collection[Source], problems: Mapping[Source, str]) -> None:
    """Print what was written.

    Raises:
        UserError: nothing was.
        PartlyDone: some sources were not.
    """
    listed = "\n".join(f"  {problem}" for problem in problems.values())
    if len(problems) == len(sources):
        raise UserError(f"nothing was predicted:\n{listed}")
    print(f"Predicted {len(sources) - len(problems)} of {len(sources)}: {output}")
    for note in [*output.notes, *output.findings()]:
        print(note)
    if problems:
        raise PartlyDone(f"{len(problems)} of {len(sources)} could not be predicted:\n{listed}")


if __name__ == "__main__":
    command(predict)()
