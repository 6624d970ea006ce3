"""Predict masks: python predict.py MODEL.TYPE=unet3plus PREDICT.INPUT=FOLDER"""

import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from data_generators.crop import whole_images
from data_generators.files.class_folders import image_list
from data_generators.reading.decoding import resize_image, to_unit_range
from data_preparation.common.sources import Reading, find_sources
from models import build_model, inference_model
from utils.base.errors import PartlyDone, UserError
from utils.base.files import writable_folder
from utils.checkpoints import ENDING, load_weights, restore_config, weights_path
from utils.config.command import entry
from utils.config.folds import ALL, fold_configs
from utils.devices.failures import explain_failures
from utils.devices.strategy import make_strategy
from utils.inference.postprocessing import postprocessing


def predict(cfg):
    """Predict what PREDICT.INPUT names, or every image of DATASET.VAL; see PREDICT in configs/config.yaml.

    The model is rebuilt from the config beside the weights; `cfg` changes only what was typed.

    Returns:
        The folder written: `masks/<name>` (class index as value; PNG of a picture, TIFF of a stack, NIfTI of a volume),
        pictures of image, truth (where there are masks) and prediction side by side in `pictures/`, the table
        `predictions.csv`; of a classifier `labels.csv`.

    Raises:
        UserError: bad settings or weights, or nothing could be predicted.
        PartlyDone: some files are bad; the others are done.
    """
    typed, configs = cfg, [whole(restore_config(one)) for one in member_configs(cfg)]
    cfg = configs[0]
    check_members(configs)
    clean = postprocessing(cfg)
    if typed.DATASET.FOLD == ALL and typed.PREDICT.INPUT is None:
        raise UserError("DATASET.FOLD=all predicts with the networks of all folds: set PREDICT.INPUT to new images.")
    is_classifier = cfg.MODEL.TYPE == "classifier"
    if is_classifier:
        cfg.DATASET.VAL.IMAGES_PATH, cfg.DATASET.VAL.MASK_PATH = image_list(cfg, "val"), None
    sources = find_sources(cfg)
    output = writable_folder(cfg, typed.PREDICT.OUTPUT_PATH, "PREDICT.OUTPUT_PATH")
    folder = output / weights_path(typed).name.removesuffix(ENDING)
    make_strategy(cfg)

    from utils.inference.writers import LabelWriter, PredictionWriter

    network = Network(configs)
    if is_classifier:
        writer = LabelWriter(folder, list(cfg.OUTPUT.CLASS_NAMES), cfg.PREDICT.OVERWRITE)
    else:
        writer = PredictionWriter(folder, cfg, class_names(cfg), clean)
    try:
        with writer, explain_failures(cfg):
            failed = predict_all(cfg, network, writer, sources)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written: {error.strerror}.") from None
    if len(failed) == len(sources):
        raise UserError("nothing was predicted:\n" + "\n".join(f"  {problem}" for problem in failed.values()))
    print(f"Predicted {len(sources) - len(failed)} of {len(sources)}: {writer.written}")
    if failed:
        problems = "\n".join(f"  {problem}" for problem in failed.values())
        raise PartlyDone(f"{len(failed)} of {len(sources)} could not be predicted:\n{problems}")
    return folder


def predict_all(cfg, network, writer, sources):
    """Predict the sources, write what comes, and return `{source: problem}` of those that are bad."""
    from utils.base.progress import progress

    failed, queue = {}, []
    batch_size = cfg.HYPER_PARAMETERS.BATCH_SIZE

    def write(source, index, image, truth, probability):
        if source in failed:
            return
        try:
            if network.gives_masks:
                probability = source.restore(probability, image.shape[:2])
                if truth is not None and cfg.DATASET.IGNORE_LABEL is not None:
                    truth = np.where(truth == cfg.DATASET.IGNORE_LABEL, 0, truth)  # no colour for what is not labelled
            writer.write(source, index, image, truth, probability, cfg.PREDICT.POSTPROCESS.THRESHOLDS)
        except UserError as error:
            fail(source, error)
        bar.update()

    def fail(source, error):
        failed.setdefault(source, str(error))
        bar.write(f"Skipped: {error}", file=sys.stderr)

    def run_queue():
        if queue:
            probabilities = network.predict(np.stack([seen for *_, seen in queue]))
            for (source, index, image, truth, _), probability in zip(queue, probabilities, strict=True):
                write(source, index, image, truth, probability)
            queue.clear()

    with progress(cfg, len(sources), "Predict", "image") as bar:
        previous = None
        for source, index, image, truth in read_ahead(cfg, sources, fail, bar):
            if source is not previous:
                if previous is not None and previous.is_series:
                    run_queue()
                    previous.close()
                previous = source
            seen = image
            if cfg.PREPROCESS_DATA.RESIZE.VALUE:
                seen = resize_image(image, cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
            if network.needs_tiles(seen.shape[:2]):
                run_queue()
                write(source, index, image, truth, network.predict_tiled(seen, batch_size))
                continue
            if queue and queue[0][-1].shape != seen.shape:
                run_queue()
            queue.append((source, index, image, truth, seen))
            if len(queue) == batch_size:
                run_queue()
        run_queue()
    return failed


def read_ahead(cfg, sources, fail, bar):
    """Yield `(source, index, image, truth)` in order, while threads read what comes next.

    The number of images held is bounded. A source that cannot be read is given to `fail(source, error)`.
    """
    reading, bad = Reading.from_config(cfg), set()

    def images():
        for source in sources:
            try:
                source.open(reading)
            except UserError as error:
                fail(source, error)
                continue
            bar.total += source.frames - 1
            for index in range(source.frames):
                if source in bad:
                    break
                yield source, index

    with ThreadPoolExecutor(cfg.DATALOADER_WORKERS) as threads:
        waiting, todo = deque(), images()
        while True:
            while len(waiting) <= cfg.DATALOADER_WORKERS:
                # The next file is opened when the one before is done, so that one volume is held at a time.
                following = next(todo, None)
                if following is None:
                    break
                waiting.append((*following, threads.submit(following[0].read, following[1])))
            if not waiting:
                return
            source, index, future = waiting.popleft()
            if source in bad:
                continue
            try:
                image, truth = future.result()
            except UserError as error:
                bad.add(source)
                fail(source, error)
                continue
            yield source, index, image, truth


class Network:
    """The trained networks that predict together: the mean of their probabilities, and of what they see mirrored.

    Args:
        configs: restored configs, one per network; their models take and give the same shapes.
    """

    def __init__(self, configs):
        cfg = configs[0]
        self.models = []
        for one in configs:
            network = build_model(one, pretrained=False)
            load_weights(network, one)
            model = inference_model(network, one.MODEL.PRUNE, fold=True)
            model.compile(jit_compile=one.OPTIMIZATION.XLA)
            self.models.append(model)
        self.gives_masks = cfg.MODEL.TYPE != "classifier"
        self.tile = cfg.PREDICT.TILE
        self.input = (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
        self.output = self.models[0].compute_output_shape((1, *self.input, cfg.INPUT.CHANNELS))[1:3]
        from utils.inference.test_time_augmentation import TRANSFORMS

        self.transforms = TRANSFORMS[cfg.PREDICT.TTA] if self.gives_masks else TRANSFORMS["none"]

    def needs_tiles(self, size):
        """Whether an image of that size must be seen through a window: none if the network takes images of any size."""
        if not self.gives_masks or self.input[0] is None:
            return False
        return size != self.input or self.output != self.input

    def predict(self, images):
        """uint8 or uint16 `(batch, height, width, channels)` -> float32 probabilities `(batch, ..., classes)`."""
        from utils.inference.test_time_augmentation import mean_over_transforms

        predictors = [partial(self.run, model) for model in self.models]
        return mean_over_transforms(predictors, to_unit_range(images), self.transforms)

    @staticmethod
    def run(model, images):
        import keras

        return keras.ops.convert_to_numpy(model.predict_on_batch(images))

    def predict_tiled(self, image, batch_size):
        from utils.inference.sliding_window import predict_tiled

        return predict_tiled(
            image, self.predict, self.input, self.output, self.tile.OVERLAP, self.tile.BLEND, batch_size
        )


def whole(cfg):
    """The config that predicts whole images, or windows: of PREDICT.TILE.SIZE, or INPUT of an unpadded network."""
    size = cfg.PREDICT.TILE.SIZE
    if size is None and cfg.MODEL.PADDING != "valid":
        return whole_images(cfg)
    if size is not None and cfg.PREPROCESS_DATA.RESIZE.VALUE:
        raise UserError(f"PREDICT.TILE.SIZE={size} and PREPROCESS_DATA.RESIZE.VALUE=True exclude each other.")
    cfg = cfg.copy()
    cfg.DATASET.CROP.MODE = None
    if size is not None:
        cfg.INPUT.HEIGHT = cfg.INPUT.WIDTH = size
    return cfg


def member_configs(cfg):
    """The configs of the networks that predict together: of PREDICT.ENSEMBLE, of all folds, or the one itself."""
    if cfg.PREDICT.ENSEMBLE is None:
        return fold_configs(cfg)
    members = []
    for name in cfg.PREDICT.ENSEMBLE:
        one = cfg.copy()
        one.MODEL.WEIGHTS_FILE_NAME = name
        one.OVERRIDES = [*cfg.OVERRIDES, f"MODEL.WEIGHTS_FILE_NAME={name}"]
        members.append(one)
    return members


def check_members(configs):
    """Networks whose probabilities are averaged must take the same images and know the same classes."""
    first = configs[0]
    for other in configs[1:]:
        for group in ("INPUT", "OUTPUT"):
            if other[group] != first[group]:
                raise UserError(
                    f"{weights_path(other)} was trained with {group}={dict(other[group])}, {weights_path(first)} with "
                    f"{dict(first[group])}: they cannot predict together."
                )
    if first.PREDICT.TTA == "dihedral" and first.INPUT.HEIGHT != first.INPUT.WIDTH:
        raise UserError("PREDICT.TTA=dihedral turns images by 90 degrees, and INPUT is not square: take flips.")


def class_names(cfg):
    if cfg.OUTPUT.CLASS_NAMES is not None:
        return list(cfg.OUTPUT.CLASS_NAMES)
    return ["background", *(f"class{index}" for index in range(1, max(cfg.OUTPUT.CLASSES, 2)))]


if __name__ == "__main__":
    entry(predict)()
