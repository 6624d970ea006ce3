"""Export trained weights: python export.py MODEL.TYPE=unet3plus EXPORT.FORMAT=onnx"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from data_generators.reading.decoding import resize_image
from data_preparation.common.sources import Reading, find_sources
from models import build_model, inference_model
from utils.base.errors import UserError
from utils.base.files import writable_folder
from utils.base.registry import load
from utils.base.startup import quiet_stderr
from utils.checkpoints import ENDING, load_weights, restore_config, weights_path
from utils.config.command import entry
from utils.devices.strategy import make_strategy
from utils.export.model_card import write_model_card

COMPARED = 8  # images on which model and file are compared

# EXPORT.FORMAT -> name of the file; a function (model, function, signature, path, cfg, images) that writes it; one
# path -> (images -> outputs) that runs it
FORMATS = {
    "saved_model": (
        "saved_model",
        "utils.export.exporters:write_saved_model",
        "utils.export.exporters:run_saved_model",
    ),
    "onnx": ("model.onnx", "utils.export.exporters:write_onnx", "utils.export.exporters:run_onnx"),
    "tflite": ("model.tflite", "utils.export.exporters:write_tflite", "utils.export.exporters:run_tflite"),
    "keras": ("model.keras", "utils.export.exporters:write_keras", "utils.export.exporters:run_keras"),
}


def export(cfg):
    """Write the trained model in another format, run that, and compare it with the model on real images.

    The model is rebuilt in float32, however it was trained, with batch normalisation folded into the convolutions.
    The images are those of PREDICT.INPUT or DATASET.VAL; where there are none, noise.

    Returns:
        The path written, `EXPORT.PATH/<weights>/<file of the format>`; `model_card.md` beside it.

    Raises:
        UserError: bad settings or weights; a package is missing; the format cannot hold the model; the exported file
            gives other values (by more than 1e-4; quantised files are only compared).
    """
    settings, weights = cfg.EXPORT, weights_path(cfg)
    path_value = settings.PATH
    cfg = restore_config(cfg)
    check_settings(cfg)
    name, write, run = FORMATS[settings.FORMAT]
    folder = writable_folder(cfg, path_value, "EXPORT.PATH") / weights.name.removesuffix(ENDING)
    images, what = example_images(cfg)
    if settings.SIZE == "dynamic":
        cfg.INPUT.HEIGHT = cfg.INPUT.WIDTH = None
        cfg.HYPER_PARAMETERS.BATCH_SIZE = 1

    make_strategy(cfg)  # what TensorFlow prints at its start is kept off the terminal

    import keras

    from utils.export.exporters import make_function

    keras.config.set_dtype_policy("float32")
    cfg.MODEL.WINOGRAD = False  # its loops and compiled parts are for this machine alone
    if settings.QUANTIZE == "int8":
        cfg.MODEL.EXACT_FAST_UPSAMPLE = False  # XNNPACK, LiteRT's usual kernels, computes int8 matrix products wrongly
    network = build_model(cfg, pretrained=False)
    load_weights(network, cfg)
    model = inference_model(network, cfg.MODEL.PRUNE, fold=True)
    function, signature = make_function(model, settings.PREPROCESS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export") as temporary:
        unfinished = Path(temporary) / name
        with quiet_stderr():
            load(write)(model, function, signature, unfinished, cfg, images[: settings.CALIBRATION])
            chosen = images[np.unique(np.linspace(0, len(images) - 1, COMPARED).astype(int))]
            rows = compare(function, load(run)(unfinished), prepare(chosen, settings.PREPROCESS), settings)
        if path.is_dir():
            shutil.rmtree(path)
        unfinished.replace(path)
    write_model_card(folder / "model_card.md", cfg, weights, path, rows, what)
    print_table(rows, what)
    print(f"saved {path} and {folder / 'model_card.md'}")
    return path


def check_settings(cfg):
    """Refuse what a format cannot do."""
    settings = cfg.EXPORT
    if settings.QUANTIZE is not None and settings.FORMAT != "tflite":
        raise UserError(f"EXPORT.QUANTIZE={settings.QUANTIZE} needs EXPORT.FORMAT=tflite.")
    if settings.PREPROCESS and settings.FORMAT == "keras":
        raise UserError("EXPORT.PREPROCESS=True does not go with EXPORT.FORMAT=keras: take another format.")
    if settings.SIZE == "fixed" and cfg.INPUT.HEIGHT is None:
        raise UserError("EXPORT.SIZE=fixed needs a size: set INPUT.HEIGHT and INPUT.WIDTH, or EXPORT.SIZE=dynamic.")
    if settings.SIZE == "dynamic" and cfg.MODEL.PADDING == "valid":
        raise UserError("EXPORT.SIZE=dynamic does not go with MODEL.PADDING=valid, whose sizes must fit.")


def example_images(cfg):
    """`(images, what they are)`: uint8 `(count, height, width, channels)` of the size of INPUT."""
    height, width = cfg.INPUT.HEIGHT or 128, cfg.INPUT.WIDTH or 128
    found, reading = [], Reading.from_config(cfg)
    try:
        sources = find_sources(cfg)
    except UserError:
        sources = []
    for source in sources:
        try:
            source.open(reading)
            indices = np.unique(np.linspace(0, source.frames - 1, 4).astype(int)).tolist()
            pictures = [source.read(index)[0] for index in indices]
        except UserError:
            continue
        pictures = [picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8) for picture in pictures]
        found += [resize_image(picture, height, width) for picture in pictures]
        if len(found) >= max(cfg.EXPORT.CALIBRATION, COMPARED):
            break
    if found:
        return np.stack(found), f"{min(len(found), COMPARED)} images"
    if cfg.EXPORT.QUANTIZE == "int8":
        raise UserError("EXPORT.QUANTIZE=int8 needs images to calibrate with: set PREDICT.INPUT.")
    noise = np.random.default_rng(cfg.SEED).integers(0, 256, (2, height, width, cfg.INPUT.CHANNELS), np.uint8)
    return noise, "noise (no images were found: set PREDICT.INPUT)"


def prepare(images, inside):
    """Images as the exported file takes them: uint8 where it scales them itself, else float32 in [0, 1]."""
    return images if inside else images / np.float32(255)


def compare(function, exported, images, settings):
    """One row per image: `(largest difference, share of pixels or images with the same class, Dice or None)`.

    Dice is that of the foreground that the two find, None where neither finds any.
    """
    rows, areas = [], np.zeros(2)
    for image in images:
        expected, got = np.asarray(function(image[None])), np.asarray(exported(image[None]))
        if expected.shape != got.shape:
            raise UserError(f"The exported file gives the shape {got.shape}, the model {expected.shape}.")
        difference = float(np.abs(expected.astype(np.float64) - got).max())
        labels = [value if settings.PREPROCESS else as_labels(value) for value in (expected, got)]
        common = 2 * ((labels[0] == labels[1]) & (labels[0] > 0)).sum()
        total = (labels[0] > 0).sum() + (labels[1] > 0).sum()
        areas += common, total
        rows.append((difference, float((labels[0] == labels[1]).mean()), float(common / total) if total else None))
    check_agreement(rows, areas[0] / areas[1] if areas[1] else 1.0, settings)
    return rows


def as_labels(probabilities):
    return probabilities[..., 0] > 0.5 if probabilities.shape[-1] == 1 else probabilities.argmax(-1)


def check_agreement(rows, dice, settings):
    """Refuse a file that differs from the model; of a quantised one, a file that finds something else."""
    worst = max(row[0] for row in rows)
    close = all(row[1] > 0.999 for row in rows) if settings.PREPROCESS else worst <= 1e-4
    if settings.QUANTIZE is None and not close:
        raise UserError(f"The exported file differs from the model by up to {worst:.2g}; it was not kept.")
    advice = "take EXPORT.QUANTIZE=float16, or other images to calibrate with (PREDICT.INPUT, EXPORT.CALIBRATION)."
    if settings.QUANTIZE is not None and dice < 0.5:
        raise UserError(
            f"The {settings.QUANTIZE} file finds something else than the model (Dice of the two {dice:.3f}); it was "
            f"not kept: {advice}"
        )
    if settings.QUANTIZE is not None and dice < 0.95:
        print(f"Warning: the {settings.QUANTIZE} file and the model agree with Dice {dice:.3f} only: {advice}")


def print_table(rows, what):
    print(f"compared on {what}\nimage  largest difference  same class  Dice of the two")
    for index, (difference, same, dice) in enumerate(rows):
        print(f"{index:>5}  {difference:>18.2e}  {same:>10.4%}  {'-' if dice is None else f'{dice:.4f}':>15}")


if __name__ == "__main__":
    entry(export)()
