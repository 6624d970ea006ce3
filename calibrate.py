"""Calibrate the probabilities of trained weights: python calibrate.py MODEL.TYPE=unet3plus

Keras and what needs it are imported inside `calibrate`, so that --help and config errors do without TensorFlow.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from data_generators.files.split_files import find_files
from data_preparation.verify_data import verify_data
from models import build_model, mask_output
from utils.base.errors import UserError
from utils.base.files import check_folder_writable
from utils.base.progress import brief_task
from utils.base.terminal import make_table, say, show
from utils.checkpoints import restore_config, weights_path
from utils.checkpoints.temperature import HIGHEST, LOWEST, Temperature, save_temperature, temperature_path
from utils.config.command import command
from utils.config.folds import fold_configs
from utils.devices.failures import explain_failures
from utils.devices.strategy import make_strategy
from utils.evaluation.split_data import evaluates_any_size

SPLIT = "val"  # not the images that the network learnt, of which it is too sure, nor those that test it
PRINTED = ("ece", "ece_foreground", "nll", "nll_foreground", "brier")


def calibrate(cfg: DictConfig) -> dict[str, float]:
    """Fit a temperature to the validation images and write it beside the weights, as `<name>.temperature.json`.

    One that ends at a limit of its range does not fit: nothing is written, and a line says so.

    With TEMPERATURE.PER_CLASS one is fitted for each class. With DATASET.FOLD=all each fold's weights get their own, of
    the images that they were not trained on. The weights stay as they are.

    Returns:
        The scores of `utils.evaluation.temperature.calibrate_sample` after calibration, of the first fold.

    Raises:
        UserError: bad data, weights or settings; a classifier; no labelled pixel.

    Example, after `make demo`:
        >>> from utils.config import load_config  # doctest: +SKIP
        >>> cfg = load_config(["WORK_DIR=demo", "MODEL.TYPE=tiny_unet3plus", "VERBOSE=0"])  # doctest: +SKIP
        >>> 0 <= calibrate(cfg)["ece"] <= 1  # doctest: +SKIP
        True
    """
    folds = [restore_config(fold) for fold in fold_configs(cfg)]
    trained = folds[0]
    if trained.MODEL.TYPE == "classifier":
        raise UserError("calibrate.py calibrates masks; MODEL.TYPE=classifier labels whole images.")
    for fold in folds:
        check_folder_writable(weights_path(fold).parent, "CALLBACKS.MODEL_CHECKPOINT.PATH")
    files = [find_files(fold, SPLIT) for fold in folds]
    for fold, of_fold in zip(folds, files, strict=True):
        verify_data(fold, splits=[SPLIT], whole_images=True, files={SPLIT: of_fold})
    strategy = make_strategy(trained)

    from utils.evaluation.sample import sample_pixels
    from utils.evaluation.temperature import calibrate_sample
    from utils.inference.forward import make_forward

    with brief_task(trained, f"building {trained.MODEL.TYPE}"), strategy.scope():
        model = build_model(trained, pretrained=False, any_size=evaluates_any_size(trained))
    forward = make_forward(model, strategy, trained.OPTIMIZATION.XLA)
    output, replicas = mask_output(model.output, trained.MODEL.PRUNE), strategy.num_replicas_in_sync
    results = []
    for fold, (samples, _) in zip(folds, files, strict=True):
        with explain_failures(fold):
            sample = sample_pixels(fold, SPLIT, samples, model, forward, output, replicas)
        if not len(sample.truth):
            raise UserError(f"DATASET.{SPLIT.upper()}: no pixel has a class, so that there is nothing to fit to.")
        with brief_task(fold, "fitting the temperature"):
            temperature, found = calibrate_sample(fold, sample, SPLIT)
        saved = keep_temperature(fold, temperature, found)
        results.append(found)
        if cfg.VERBOSE:
            print_calibration(temperature, found, len(samples))
        if cfg.VERBOSE or temperature.at_limit:
            say(saved)
    return results[0]["after"]


def keep_temperature(fold: DictConfig, temperature: Temperature, found: dict[str, Any]) -> str:
    """Write a temperature beside its weights, unless none fits; returns the line that says so."""
    if not temperature.at_limit:
        return f"saved {save_temperature(fold, temperature, found)}"
    path = temperature_path(fold)
    kept = f"{path} stays as it was" if path.exists() else f"{path} is not written"
    return (
        f"temperature {temperature} is at a limit, {LOWEST} or {HIGHEST:g}, which means that none fits: {kept}; "
        "do without, or train longer"
    )


def print_calibration(temperature: Temperature, found: dict[str, Any], images: int) -> None:
    """Print the temperature, scores before and after, and what speaks against it; `images` were predicted."""
    of = "" if found["pixels"] == found["labelled_pixels"] else f" of {found['labelled_pixels']:,}, drawn at random"
    say(f"\ntemperature {temperature}, fitted to {found['pixels']:,} labelled pixels{of}")
    names = [name for name in PRINTED if name in found["before"]]
    names += [name for name in found["before"] if name.startswith("dice")]
    rows = [[name, *(f"{found[when][name]:.4f}" for when in ("before", "after"))] for name in names]
    show(make_table([found["split"], "before", "after"], rows))
    before, after = (found[when].get("nll_foreground", 0.0) for when in ("before", "after"))
    if after > before:
        say("the foreground is calibrated worse than before, as background outweighs it in the fit;")
        say("TEMPERATURE.APPLY=False does without the temperature")
    if temperature.may_change_masks:
        say("dice is that of these pixels, as if of one image: a temperature for each class may change masks; where")
        say("dice falls, TEMPERATURE.PER_CLASS=False fits one that leaves them as they are")
    if images == 1:
        say("fitted to a single image: one case is few, and others may need another temperature")


if __name__ == "__main__":
    command(calibrate)()
