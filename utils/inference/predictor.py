"""From images to probabilities, by one trained network or several."""

from collections.abc import Iterator, Sequence
from functools import partial

import keras
import numpy as np
from omegaconf import DictConfig

from data_generators.reading.decoding import resize_image, to_unit_range
from models import build_model, inference_model
from models.encoders.deepest import encoder_features
from utils.base.progress import brief_task
from utils.checkpoints import load_weights, weights_path
from utils.checkpoints.temperature import Temperature, load_temperature
from utils.inference.members import network_size, predicts_whole
from utils.inference.sliding_window import predict_sliding_window
from utils.inference.temperature import with_temperature
from utils.inference.test_time_augmentation import TRANSFORMS, Function, mean_over_transforms
from utils.inference.uncertainty.dropout import use_sample, with_active_dropout
from utils.inference.uncertainty.members import MemberSettings
from utils.inference.windows import TileClock, tiles_at_once, unpadded_window


class Predictor:
    """The mean probabilities of trained networks, with test-time augmentation and a sliding window.

    Args:
        configs: restored configs, one per network, see `utils.inference.members.restore_members`.

    Attributes:
        predicts_masks: false for a classifier, whose probabilities are `(classes,)` per image.
        batch_size: images or tiles that are predicted at once.
        members: what is made of the members of a prediction; None without PREDICT.UNCERTAINTY.

    Example, after `make demo`:
        >>> from utils.config import load_config  # doctest: +SKIP
        >>> from utils.inference.members import restore_members  # doctest: +SKIP
        >>> members = restore_members(load_config(["WORK_DIR=demo", "MODEL.TYPE=tiny_unet3plus"]))  # doctest: +SKIP
        >>> Predictor(members).predict_image(np.zeros((96, 96, 3), np.uint8)).shape  # doctest: +SKIP
        (96, 96, 2)
    """

    def __init__(self, configs: Sequence[DictConfig]) -> None:
        self.cfg, self.configs = configs[0], configs
        self.members = MemberSettings.from_configs(configs)
        cfg = self.cfg
        self.input_size = network_size(cfg)
        self.temperatures = [load_temperature(config) for config in configs]
        self.networks = {self.input_size: self.load_networks(self.input_size)}
        self.encoder: keras.Model | None = None
        self.predicts_masks = cfg.MODEL.TYPE != "classifier"
        self.batch_size = 1 if predicts_whole(cfg) else cfg.HYPER_PARAMETERS.BATCH_SIZE
        self.resize = (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH) if cfg.PREPROCESS_DATA.RESIZE.VALUE else None
        self.overlap, self.blend = cfg.PREDICT.TILE.OVERLAP, cfg.PREDICT.TILE.BLEND
        self.transforms = TRANSFORMS[cfg.PREDICT.TTA if self.predicts_masks else "none"]
        self.chooses_window = cfg.MODEL.PADDING == "valid" and cfg.PREDICT.TILE.SIZE is None
        self.clock = TileClock()

    def load_networks(self, size: tuple[int, int] | None) -> list[keras.Model]:
        """The networks for a size, each with its temperature if it has one."""
        members = zip(self.configs, self.temperatures, strict=True)
        return [load_network(config, size, temperature) for config, temperature in members]

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The image `(height, width, channels)`, resized if PREPROCESS_DATA.RESIZE says so."""
        return image if self.resize is None else resize_image(image, *self.resize)

    def needs_tiles(self, size: tuple[int, ...]) -> bool:
        """Whether an image of that (height, width) needs the sliding window."""
        if not self.predicts_masks or self.input_size is None:  # a classifier, or a network for images of any size
            return False
        return size != self.input_size or self.output_size(self.input_size) != self.input_size

    def output_size(self, window: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the masks that networks for a window return."""
        height, width = self.networks[window][0].output_shape[1:3]
        return height, width

    def window(self, size: tuple[int, ...]) -> tuple[int, int]:
        """(height, width) of the window for an image (height, width); its networks are in `networks`."""
        assert self.input_size is not None
        window = unpadded_window(self.cfg, size) if self.chooses_window else self.input_size
        if window not in self.networks:
            self.networks[window] = self.load_networks(window)
        return window

    def predict(self, images: np.ndarray, window: tuple[int, int] | None = None) -> np.ndarray:
        """Predict a batch of images of the network's size.

        Args:
            images: uint8 or uint16 `(batch, height, width, channels)`.
            window: a key of `networks`; by default `input_size`.

        Returns:
            float32 probabilities `(batch, height, width, classes)`; of a classifier `(batch, classes)`.
        """
        runs = [partial(run, model) for model in self.networks[window or self.input_size]]
        return mean_over_transforms(runs, to_unit_range(images), self.transforms)

    def each_member(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Predict a batch with one member after the other; tile by tile, if its one image needs that.

        Args:
            images: as of `predict`, or `(1, height, width, channels)` of any size.

        Yields `(batch, height, width, classes)`, `MemberSettings.count` times.
        """
        tiled = self.needs_tiles(images.shape[1:3])
        window = self.window(images.shape[1:3]) if tiled else self.input_size
        for transform, inverse in self.transforms:
            for model in self.networks[window]:
                for sample in range(self.cfg.PREDICT.MC_SAMPLES or 1):
                    predict = partial(run_member, model, transform, inverse, self.cfg.SEED, sample)
                    yield self.predict_tiles(images[0], predict)[None] if tiled else predict(images)

    def predict_tiles(self, image: np.ndarray, predict: Function | None = None) -> np.ndarray:
        """Predict one image `(height, width, channels)` of any size with the sliding window.

        Args:
            image: uint8 or uint16.
            predict: function, tiles -> probabilities; by default `predict`.
        """
        window = self.window(image.shape[:2])
        self.clock.start(image.shape[:2], window)
        return predict_sliding_window(
            image,
            predict or partial(self.predict, window=window),
            window,
            self.output_size(window),
            self.overlap,
            self.blend,
            self.batch_size if window == self.input_size else min(self.batch_size, tiles_at_once(window)),
            self.clock,
        )

    def features(self, image: np.ndarray) -> np.ndarray:
        """What the encoder of the first network makes of an image, `(channels,)`; without samples of dropout.

        Args:
            image: uint8 or uint16 `(height, width, channels)`; resized to the input of the network if it has a size.
        """
        if self.encoder is None:
            plain = self.cfg.copy()
            plain.PREDICT.MC_SAMPLES = None
            sampled = self.cfg.PREDICT.MC_SAMPLES is not None
            network = load_network(plain, self.input_size) if sampled else self.networks[self.input_size][0]
            self.encoder = encoder_features(network)
        image = self.prepare(image)
        if self.input_size is not None and image.shape[:2] != self.input_size:
            image = resize_image(image, *self.input_size)
        return run(self.encoder, to_unit_range(image[None]))[0]

    def predict_image(self, image: np.ndarray) -> np.ndarray:
        """Predict one image `(height, width, channels)`, uint8 or uint16, in the way that its size needs.

        Returns:
            float32 probabilities `(height, width, classes)`, of the size of the image or, with PREPROCESS_DATA.RESIZE,
            of INPUT; of a classifier `(classes,)`.
        """
        image = self.prepare(image)
        return self.predict_tiles(image) if self.needs_tiles(image.shape[:2]) else self.predict(image[None])[0]


def load_network(cfg: DictConfig, size: tuple[int, int] | None, temperature: Temperature | None = None) -> keras.Model:
    """The trained network of a restored config, ready to predict images (height, width), None: of any size."""
    with brief_task(cfg, f"building {cfg.MODEL.TYPE}") as task:
        network = build_model(cfg, pretrained=False, any_size=size is None, size=size)
        task.text = (f"{network.count_params():,} parameters", "loading weights")
        load_weights(network, cfg)
        model = inference_model(network, cfg.MODEL.PRUNE, fuse_batch_norm=True)
        if cfg.PREDICT.MC_SAMPLES:
            model = with_active_dropout(model, weights_path(cfg).name)
        model = with_temperature(model, temperature)
    model.compile(jit_compile=cfg.OPTIMIZATION.XLA)
    return model


def run(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model.predict_on_batch(images))


def run_member(
    model: keras.Model, transform: Function, inverse: Function, seed: int, sample: int, images: np.ndarray
) -> np.ndarray:
    """The probabilities of one member: a network, a transform, a sample of its dropout."""
    use_sample(model, seed, sample)
    return inverse(run(model, np.ascontiguousarray(transform(to_unit_range(images)))))
