"""The pipeline of NVIDIA DALI: from records to images and masks, on a GPU or on the CPU."""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from data_generators.augmentation.knobs import MATRIX
from data_generators.loaders.dali_augmentation import INTENSITY_CHANGES, Drawn, clamp, library
from data_generators.loaders.dali_records import RecordReader
from utils.base.startup import quiet_stderr

if TYPE_CHECKING:
    from nvidia.dali.data_node import DataNode
    from nvidia.dali.pipeline import Pipeline

RECORD = "record"  # the input of the pipeline
Built = TypeVar("Built")


def define_pipeline(
    records: RecordReader, batch_size: int, workers: int, gpu: int | None, *, to_cpu: bool = False, **options: Any
) -> "Pipeline":
    """The pipeline whose input is records and whose outputs are images and, if there are any, masks.

    Args:
        records: makes the records.
        batch_size: the largest.
        workers: threads.
        gpu: number of a GPU, None for the CPU.
        to_cpu: whether outputs of a GPU go back to the CPU.
        options: of `nvidia.dali.Pipeline`.

    Returns:
        Outputs: image `(height, width, channels)`, uint8 as stored or float32 in [0, 1], and mask uint8
        `(height, width, 1)`.
    """
    fn, _, pipeline_class = library()
    pipeline = pipeline_class(batch_size, workers, device_id=gpu, **options)
    with pipeline:
        inputs, mask, encoded = unpack(records, fn.external_source(name=RECORD))
        outputs = [decode(records, encoded, inputs, gpu)]
        if records.reader.with_mask:
            outputs.append(mask if gpu is None else mask.gpu())
        outputs = change(records, outputs, Drawn(inputs, gpu is not None))
        pipeline.set_outputs(*(output.cpu() if to_cpu else output for output in outputs))
    return pipeline


def unpack(records: RecordReader, record: "DataNode") -> tuple[Mapping[str, "DataNode"], "DataNode", "DataNode"]:
    """The fields of a record, the mask `(height, width, 1)`, and the bytes of the image's file."""
    fn, types, _ = library()
    dtypes = {"int32": types.INT32, "float32": types.FLOAT}
    inputs, end = {}, 0
    for name, field in records.fields.items():
        start, end = end, end + field.bytes
        inputs[name] = fn.reinterpret(record[start:end], dtype=dtypes[field.dtype], shape=list(field.shape))
    size = inputs["size"]
    dtype, width = {"uint8": (types.UINT8, 1), "uint16": (types.UINT16, 2), "int32": (types.INT32, 4)}[
        records.mask_dtype
    ]
    image_start = end + size[0] * size[1] * width
    shape = fn.cat(size, types.Constant([1], dtype=types.INT32))
    mask = fn.reinterpret(record[end:image_start], dtype=dtype, shape=shape, layout="HWC")
    return inputs, mask, record[image_start:]


def decode(records: RecordReader, encoded: "DataNode", inputs: Mapping[str, "DataNode"], gpu: int | None) -> "DataNode":
    """The image, uint8 if all images have 8 bit, else uint16, resized and cropped."""
    fn, types, _ = library()
    settings = records.reader.settings
    image = fn.decoders.image(
        encoded,
        device="cpu" if gpu is None else "mixed",
        output_type=types.GRAY if settings.channels == 1 else types.RGB,
        dtype=types.UINT8 if records.reader.image_dtype == "uint8" else types.UINT16,
        adjust_orientation=False,  # pixels as stored, as the other loaders have them
    )
    if settings.resize and settings.height is not None and settings.width is not None:
        size = [settings.height, settings.width]
        image = fn.resize(image, size=size, min_filter=types.INTERP_TRIANGULAR, mag_filter=types.INTERP_CUBIC)
    if settings.crop:
        sides = [settings.crop.height, settings.crop.width]
        image = fn.slice(image, start=inputs["corner"], shape=sides, axes=[0, 1])
    return image


def change(records: RecordReader, outputs: "list[DataNode]", drawn: Drawn) -> "list[DataNode]":
    """Augment image and mask; the image becomes float32 in [0, 1], unless it stays as stored."""
    fn, types, _ = library()
    augmentation, has_8_bit = records.augmentation, records.reader.image_dtype == "uint8"
    if augmentation is None:
        return outputs if has_8_bit else [fn.cast(outputs[0], dtype=types.FLOAT) / 65535.0, *outputs[1:]]
    if not has_8_bit:
        outputs[0] = fn.cast(outputs[0], dtype=types.FLOAT) / 257.0  # 0 to 255, as of 8 bit
    if augmentation.knobs.keys() & set(MATRIX):
        interpolations, fills = (types.INTERP_LINEAR, types.INTERP_NN), (0, augmentation.mask_fill)
        if len(outputs) > 1 and records.mask_dtype == "uint16":
            outputs[1] = fn.cast(outputs[1], dtype=types.INT32)  # it warps no uint16
        outputs = [
            fn.warp_affine(output, matrix=drawn.arguments["matrix"], interp_type=interpolation, fill_value=fill)
            for output, interpolation, fill in zip(outputs, interpolations, fills, strict=False)
        ]
        if len(outputs) > 1 and records.mask_dtype == "uint16":
            outputs[1] = fn.cast(outputs[1], dtype=types.UINT16)
    for name, function in INTENSITY_CHANGES.items():
        if name in augmentation.knobs:
            outputs[0] = function(outputs[0], drawn)
    return [clamp(outputs[0] / 255.0, 1.0), *outputs[1:]]


def on_best_device(build: Callable[[int | None], Built], gpu: int | None) -> Built:
    """`build(gpu)`, or `build(None)`, on the CPU, where DALI cannot use that GPU, which is said."""
    with quiet_stderr():  # plugins for other kinds of images complain that they find no GPU
        if gpu is None:
            return build(None)
        try:
            return build(gpu)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
    print(f"Note: DALI cannot use the GPU ({reason}) and works on the CPU.", file=sys.stderr)
    with quiet_stderr():
        return build(None)


def reason_of(error: Exception) -> str:
    """What DALI says about a batch that it cannot read, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    after = lines.index("encountered:") + 1 if "encountered:" in lines[:-1] else 0
    return lines[after] if lines else type(error).__name__
