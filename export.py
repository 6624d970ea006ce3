"""Export trained weights: python export.py MODEL.TYPE=unet3plus EXPORT.FORMAT=onnx

Keras and what needs it are imported inside `export`, so that --help and config errors do without TensorFlow.
"""

import shutil
from pathlib import Path

from omegaconf import DictConfig

from utils.base.classes import is_multi_label
from utils.base.files import staging_folder, writable_folder
from utils.base.locks import lock_path, locked
from utils.base.progress import brief_task
from utils.base.registry import load_object
from utils.base.startup import quiet_stderr, without_notices
from utils.checkpoints import ENDING, restore_config, weights_path
from utils.config.command import command
from utils.devices.strategy import make_strategy
from utils.export.comparison import compare, print_comparison
from utils.export.formats import check_export
from utils.export.interface import describe_interface, describe_tensors
from utils.export.model_card import write_model_card
from utils.export.stored_values import stored_images, stored_range, with_stored_values


def export(cfg: DictConfig) -> Path:
    """Write the trained model in another format, run the file, and compare it with the model on real images.

    The model is rebuilt in float32, however it was trained, with batch normalisation fused into the convolutions.
    The images are those of PREDICT.INPUT or DATASET.VAL, or noise if there are none.

    Returns:
        The path written, `EXPORT.PATH/<weights>/<file of the format>`; its model card beside it, `<file>.md`.

    Raises:
        UserError: bad settings or weights; a package is missing; the format cannot hold the model; the exported file
            gives other values (by more than 1e-4; quantised files may differ more); another export
            writes the same file.

    Example, after `make demo`:
        >>> from utils.config import load_config  # doctest: +SKIP
        >>> cfg = load_config(["WORK_DIR=demo", "MODEL.TYPE=tiny_unet3plus", "EXPORT.FORMAT=keras"])  # doctest: +SKIP
        >>> path = export(cfg)  # doctest: +SKIP
        compared on ... images
        ...
        saved .../model.keras and .../model.keras.md
    """
    from utils.export.example_images import evenly_spaced, example_images

    trained, weights, settings = restore_config(cfg), weights_path(cfg), cfg.EXPORT
    row, multi_label = check_export(trained), is_multi_label(trained)
    folder = writable_folder(trained, settings.PATH, "EXPORT.PATH") / weights.name.removesuffix(ENDING)
    pictures, compared_on = example_images(trained)
    images = stored_images(pictures, trained)
    make_strategy(trained)  # what TensorFlow prints at its start is kept off the terminal

    from utils.export.portable_model import load_portable_model

    words = describe_interface(trained, weights.name)
    model = load_portable_model(trained)
    if settings.PREPROCESS:
        model = with_stored_values(model, stored_range(trained))
    job = load_object(row.make_job)(model, images[: settings.CALIBRATION], settings, multi_label, words)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / row.file_name
    with locked(lock_path(path), f"the export {path}"), staging_folder(folder, "export") as temporary:
        unfinished = temporary / row.file_name
        loud = cfg.VERBOSE == 2
        with quiet_stderr(loud), without_notices(loud):
            with brief_task(trained, f"converting to {settings.FORMAT}"):
                load_object(row.write)(job, unfinished)
            with brief_task(trained, "comparing the file with the model"):
                exported = load_object(row.run)(unfinished)
                rows = compare(job.run, exported, evenly_spaced(images), settings, multi_label)
        if path.is_dir():
            shutil.rmtree(path)
        unfinished.replace(path)
    card = folder / f"{path.name}.md"
    interface = describe_tensors(trained, job.output_shape) | words
    write_model_card(card, trained, weights, path, interface, rows, compared_on)
    print_comparison(rows, compared_on)
    print(f"saved {path} and {card}")
    return path


if __name__ == "__main__":
    command(export)()
