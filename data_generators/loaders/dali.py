"""DALI_GENERATOR: NVIDIA DALI decodes and augments, on the first GPU, or in threads of its own on the CPU.

Needs Linux on x86-64 and `pip install -r requirements-dali.txt`. It reads PNG and JPEG files as they are, without crop
and without resizing. See `data_generators.loaders.dali_augmentation` for its augmentation.
"""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import keras
import numpy as np

from data_generators.augmentation.keep_foreground import foreground_box
from data_generators.augmentation.knobs import MATRIX
from data_generators.files.image_file import ImageFile
from data_generators.files.pairing import Pair
from data_generators.loaders.batches import split_draws
from data_generators.loaders.dali_augmentation import INTENSITY_CHANGES, draw_inputs, library, missing_features
from data_generators.reading.decoding import decode
from data_generators.reading.headers import read_header, read_whole
from data_generators.reading.mask_values import STORED, read_values
from data_generators.reading.masks import to_classes
from data_generators.reading.readers import PairReader, SampleReader
from data_generators.reading.tiff import TIFF_STARTS
from data_generators.sampler import EpochSampler
from utils.base.errors import UserError
from utils.base.startup import quiet_stderr

if TYPE_CHECKING:
    from nvidia.dali.pipeline import Pipeline

LACKS = "DATA_GENERATOR_TYPE=DALI_GENERATOR has no"
OTHERS = "TF_GENERATOR and TF_DATA do that."


class DaliBatches:
    """Batches of samples, see `data_generators.loaders.Loader`.

    Raises:
        UserError: DALI is not installed, or a setting asks for what it lacks.
    """

    def __init__(
        self, samples: Sequence[Pair], sampler: EpochSampler, reader: SampleReader, batch_size: int, workers: int
    ) -> None:
        self.samples, self.sampler, self.batch_size = samples, sampler, batch_size
        self.reader = check_supported(reader)
        self.settings = reader.settings
        self.augmentation = reader.augmentation.settings if reader.augmentation else None
        # Augmented images are floating point.
        self.as_stored = reader.image_spec.dtype == "uint8" and self.augmentation is None
        self.pipeline = self.build_on_best_device(workers)

    def __len__(self) -> int:
        return self.sampler.steps

    def build_on_best_device(self, workers: int) -> "Pipeline":
        """The pipeline on the first GPU, if the backend sees one that DALI can use, or else on the CPU."""
        library()
        if sees_gpu():
            try:
                return self.build(workers, gpu=0)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0]
                print(f"Note: DALI cannot use the GPU ({reason}) and works on the CPU.", file=sys.stderr)
        return self.build(workers)

    def build(self, workers: int, gpu: int | None = None) -> "Pipeline":
        """The pipeline on a GPU of that number, or on the CPU; its outputs are on the CPU either way."""
        fn, types, pipeline_class = library()
        device = "cpu" if gpu is None else "mixed"
        pipeline = pipeline_class(
            self.batch_size, workers, device_id=gpu, prefetch_queue_depth=1, exec_async=False, exec_pipelined=False
        )
        with pipeline:
            kind = {1: types.GRAY, 3: types.RGB}.get(self.settings.channels, types.ANY_DATA)
            options = {
                "device": device,
                "adjust_orientation": False,
            }  # pixels as stored, as the other loaders have them
            outputs = [fn.decoders.image(fn.external_source(name="image"), output_type=kind, **options)]
            if self.reader.with_mask:
                mask = fn.decoders.image(fn.external_source(name="mask"), output_type=types.ANY_DATA, **options)
                outputs.append(mask[:, :, :1])
            if self.augmentation:
                outputs = self.augment(outputs, gpu is not None)
            pipeline.set_outputs(*(output.cpu() for output in outputs))
        with quiet_stderr():  # plugins for other kinds of images complain that they find no GPU
            pipeline.build()
        return pipeline

    def augment(self, outputs: list, on_gpu: bool) -> list:
        """Add the operations of the knobs to the pipeline that is being built."""
        assert self.augmentation is not None
        fn, types, _ = library()
        knobs = self.augmentation.knobs
        if knobs.keys() & set(MATRIX):
            matrix = fn.external_source(name="matrix")
            interpolations, fills = (types.INTERP_LINEAR, types.INTERP_NN), (0, self.augmentation.mask_fill)
            outputs = [
                fn.warp_affine(output, matrix=matrix, interp_type=interpolation, fill_value=fill)
                for output, interpolation, fill in zip(outputs, interpolations, fills, strict=False)
            ]
        for name, change in INTENSITY_CHANGES.items():
            if name in knobs:
                outputs[0] = change(outputs[0], on_gpu)
        return outputs

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        batches = split_draws(self.sampler.next_epoch(), self.batch_size)
        with ThreadPoolExecutor(1) as thread:  # it waits for the pipeline, which has threads of its own
            queue = deque(thread.submit(self.read, draws) for draws in islice(batches, 2))
            try:
                while queue:
                    yield queue.popleft().result()
                    queue.extend(thread.submit(self.read, draws) for draws in islice(batches, 1))
            finally:
                thread.shutdown(cancel_futures=True)

    def read(self, draws: np.ndarray) -> tuple[np.ndarray, ...]:
        """Read and augment a batch."""
        pairs = [self.samples[index] for _, _, index in draws]
        self.feed(pairs, draws)
        try:
            image, *masks = (np.array(output.as_cpu().as_array()) for output in self.pipeline.run())
        except RuntimeError as error:
            names = ", ".join(str(pair.image) for pair in pairs)
            reason = next((line for line in str(error).splitlines() if "rror" in line), "unknown")
            raise UserError(f"DALI cannot read one of {names}: {reason} Try another DATA_GENERATOR_TYPE.") from None
        if not self.as_stored:
            image = np.clip(np.divide(image, np.float32(255), dtype=np.float32), 0, 1)
        if not masks:
            return (image,)
        labels = to_classes("a mask", masks[0], self.settings)
        if self.reader.boundary is None:
            return image, labels
        return image, labels, np.stack([self.reader.boundary_weights(mask) for mask in labels])

    def feed(self, pairs: Sequence[Pair], draws: np.ndarray) -> None:
        """Give the pipeline the files of a batch, and what is drawn for its augmentation."""
        self.pipeline.feed_input("image", [encoded(pair.image) for pair in pairs])
        if self.reader.with_mask:
            self.pipeline.feed_input("mask", [encoded(pair.mask, is_mask=True) for pair in pairs if pair.mask])
        if self.augmentation:
            assert self.settings.height is not None and self.settings.width is not None
            shape = (self.settings.height, self.settings.width, self.settings.channels)
            inputs = [
                draw_inputs(self.augmentation, shape, epoch, position, self.foreground_box(pair))
                for pair, (epoch, position, _) in zip(pairs, draws, strict=True)
            ]
            for name in inputs[0]:
                self.pipeline.feed_input(name, [sample[name] for sample in inputs])

    def foreground_box(self, pair: Pair) -> np.ndarray | None:
        """What ZOOM leaves in the frame: NumPy needs the mask before DALI has decoded it."""
        assert self.augmentation is not None
        zoom = self.augmentation.knobs.get("ZOOM")
        if zoom is None or zoom.get("KEEP_FOREGROUND") is False or pair.mask is None or not self.reader.with_mask:
            return None
        return foreground_box(read_values(pair.mask), self.settings.ignore_label)


def sees_gpu() -> bool:
    """Whether Keras's backend sees a GPU."""
    if keras.backend.backend() == "jax":
        import jax

        return any(device.platform == "gpu" for device in jax.local_devices())
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def check_supported(reader: SampleReader) -> PairReader:
    """Return the reader if DALI can stand in for it.

    Raises:
        UserError: names what DALI lacks.
    """
    settings = reader.settings
    if not isinstance(reader, PairReader):
        raise UserError(f"{LACKS} class labels (MODEL.TYPE=classifier); {OTHERS}")
    if settings.crop or settings.resize:
        key = "DATASET.CROP.MODE" if settings.crop else "PREPROCESS_DATA.RESIZE.VALUE"
        raise UserError(f"{LACKS} {key}: it takes images as they are; {OTHERS}")
    if settings.channels not in (1, 3):
        raise UserError(f"{LACKS} INPUT.CHANNELS={settings.channels}, only 1 and 3; {OTHERS}")
    for name, is_set in (
        ("VALUE_RANGE", settings.value_range is not None),
        ("MASK_FORM", settings.mask_form != STORED),
        ("EXIF=apply", settings.turned),
    ):
        if is_set:
            raise UserError(f"{LACKS} PREPROCESS_DATA.{name}; {OTHERS}")
    if settings.cache is not None:
        raise UserError(f"{LACKS} DATASET.CACHE: it decodes by itself; {OTHERS}")
    if reader.augmentation is None:
        return reader
    if reader.augmentation.settings.policy is not None:
        raise UserError(f"{LACKS} AUGMENTATION.ALBUMENTATIONS; {OTHERS}")
    missing = missing_features(reader.augmentation.settings)
    if missing:
        raise UserError(f"{LACKS} {', '.join(missing)}; {OTHERS}")
    if settings.label_values is not None or settings.divide_mask_by != 1:
        raise UserError(f"{LACKS} augmentation of masks that LABEL_VALUES or NORMALIZE_MASK convert; {OTHERS}")
    return reader


def encoded(file: ImageFile, is_mask: bool = False) -> np.ndarray:
    """The bytes of a PNG or JPEG file, uint8 `(bytes,)`.

    A mask with a palette, whose colours DALI would return, and TIFF files, of which it reads some forms otherwise than
    the other loaders, become the PNG of the values that those have.
    """
    data = read_whole(file)
    is_tiff = data.startswith(TIFF_STARTS)
    if is_mask and (is_tiff or read_header(file, data).has_palette):
        return cv2.imencode(".png", read_values(file))[1].ravel()
    if is_tiff:
        return cv2.imencode(".png", decode(file, data))[1].ravel()
    return np.frombuffer(data, np.uint8)
