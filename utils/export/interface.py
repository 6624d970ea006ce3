"""What an exported file takes and returns, in words: for the model card and for the metadata that the file holds."""

from omegaconf import DictConfig

from utils.base.classes import is_multi_label
from utils.base.version import VERSION
from utils.base.volume_zscore import HIGHEST, LOWEST
from utils.checkpoints.temperature import describe_temperatures
from utils.config.input_channels import names_of_slice
from utils.export.formats import FORMATS, output_name
from utils.export.stored_values import LEVELS, input_type, stored_range

GREY, COLOUR = 1, 3  # channels


def describe_interface(cfg: DictConfig, weights: str) -> dict[str, str]:
    """What the model is and what its input must look like, as {name: text}.

    Args:
        cfg: config of the weights, with EXPORT.
        weights: their file name.

    >>> from utils.config import load_config
    >>> words = describe_interface(load_config(["INPUT.CHANNELS=1", "OUTPUT.CLASS_NAMES=[other,liver]"]), "liver")
    >>> words["channels"], words["classes"]
    ('grey', '0 other, 1 liver')
    """
    words = {
        "model": f"{cfg.MODEL.TYPE}, encoder {cfg.MODEL.BACKBONE.TYPE}",
        "weights": weights,
        "channels": describe_channels(cfg),
        "pixel values": describe_values(cfg),
        "image preprocessing": describe_preprocessing(cfg),
        "slices of scans": describe_slices(cfg),
        "classes": describe_classes(cfg),
        "values of the output": describe_output(cfg),
        "calibration": describe_calibration(cfg),
        "application": f"unet-family-segmentation {VERSION}, MIT License; the weights have the terms of their data",
    }
    return {name: text for name, text in words.items() if text}


def describe_tensors(cfg: DictConfig, output_shape: tuple[int | None, ...]) -> dict[str, str]:
    """Name, type and shape of input and output.

    >>> from utils.config import load_config
    >>> describe_tensors(load_config([]), (None, 320, 320, 2))["output"]
    '`probabilities`, float32, (batch, 320, 320, 2)'
    """
    size = (None, None) if cfg.EXPORT.SIZE == "dynamic" else (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
    returned = "int32" if output_name(cfg.EXPORT) == "classes" else "float32"
    shape = shape_text((None, *size, cfg.INPUT.CHANNELS))
    return {
        "input": f"`image`, {input_type(cfg)}, {shape}: batch, height, width, channels",
        "output": f"`{output_name(cfg.EXPORT)}`, {returned}, {shape_text(output_shape)}",
    }


def shape_text(shape: tuple[int | None, ...]) -> str:
    """The batch first, then sizes, `any` where they are open."""
    return f"({', '.join(['batch', *(str(side or 'any') for side in shape[1:])])})"


def is_picture(cfg: DictConfig) -> bool:
    """Whether an image is a picture file as it is: none of several files, chosen bands or neighbouring slices."""
    dataset = cfg.DATASET
    plain = dataset.CHANNELS is None and dataset.BANDS is None and not dataset.SLICES_AROUND
    return plain and cfg.DATA_PREPARATION.CHANNELS is None


def describe_joined(cfg: DictConfig) -> str:
    """The channels in their order, where an image is more or less than a picture file.

    >>> from utils.config import load_config
    >>> describe_joined(load_config(["DATASET.CHANNELS=[t1,t2]", "DATASET.SLICES_AROUND=1", "INPUT.CHANNELS=6"]))
    't1, t2 of slice -1, t1, t2 of slice +0, t1, t2 of slice +1'
    >>> describe_joined(load_config(["DATASET.BANDS=[4,3]", "INPUT.CHANNELS=2"]))
    'band 4, band 3'
    """
    dataset, around = cfg.DATASET, cfg.DATASET.SLICES_AROUND
    bands = [f"band {band}" for band in dataset.BANDS or ()]
    names = names_of_slice(cfg) or bands or [f"{cfg.INPUT.CHANNELS // (2 * around + 1)} channels"]
    if not around:
        return ", ".join(names)
    return ", ".join(f"{', '.join(names)} of slice {step:+d}" for step in range(-around, around + 1))


def describe_channels(cfg: DictConfig) -> str:
    """The channels in their order."""
    channels = cfg.INPUT.CHANNELS
    if not is_picture(cfg):
        return describe_joined(cfg)
    if cfg.DATA_PREPARATION.PREPARED_BY is not None and channels == COLOUR:
        return "slice below, slice, slice above"
    names = {GREY: "grey", COLOUR: "red, green, blue (RGB); grey images three times"}
    return names.get(channels, f"{channels}, in the order of the training images")


def describe_classes(cfg: DictConfig) -> str:
    """Number and name of each class of the output."""
    names = cfg.OUTPUT.CLASS_NAMES
    if not names:
        return f"{cfg.OUTPUT.CLASSES}, without names"
    if is_multi_label(cfg):
        names = names[1:]  # the background has no channel
    return ", ".join(f"{index} {name}" for index, name in enumerate(names))


def describe_output(cfg: DictConfig) -> str:
    """What a value of the output is, and how classes follow from it."""
    of = "the image" if cfg.MODEL.TYPE == "classifier" else "a pixel"
    gives_classes = output_name(cfg.EXPORT) == "classes"
    if is_multi_label(cfg):
        bits = f"the classes of {of}: bit n is set where class n is there"
        return bits if gives_classes else f"probability of each class at {of}; above 0.5 the class is there"
    if gives_classes:
        return f"the class of {of}"
    if cfg.OUTPUT.CLASSES == 1:
        return f"probability that {of} is foreground"
    return f"probability of each class at {of}; `argmax(-1)` is the class"


def describe_calibration(cfg: DictConfig) -> str:
    """The temperature inside the file; empty without one."""
    if cfg.EXPORT.QUANTIZE == "int8":  # whose integers hold none
        return ""
    temperatures = describe_temperatures([cfg])
    return f"probabilities calibrated with temperature {temperatures}" if temperatures else ""


def describe_slices(cfg: DictConfig) -> str:
    """How the slices of scans become images, in words; empty if the training data was not made of scans."""
    group = cfg.DATA_PREPARATION
    if group.PREPARED_BY is None:
        return ""
    window = f"{'0.5th to 99.5th percentile' if group.DEPTH == 8 else 'lowest to highest'} of the volume"
    if group.SCAN_MIN_VALUE is not None:
        window = f"{group.SCAN_MIN_VALUE:g} to {group.SCAN_MAX_VALUE:g}"
    by_slice = ", then the range of the slice within it" if group.INTENSITY_SCALING == "slice_min_max" else ""
    size = "as in the scan"
    if group.RESIZED_HEIGHT is not None:
        size = f"{group.RESIZED_HEIGHT} x {group.RESIZED_WIDTH} ({group.RESIZE_METHOD})"
    channels = describe_channels(cfg)
    if is_picture(cfg):
        channels = "slice below, slice, slice above, at the ends of the scan the slice itself"
    values = f"intensities {window} become 0 to {2**group.DEPTH - 1}{by_slice}"
    return f"{values}; size {size}; channels: {channels}; radiological view"


def describe_preprocessing(cfg: DictConfig) -> str:
    """What the file itself does to pixel values first; empty if it takes them as they come."""
    group, kind = cfg.PREPROCESS_DATA, cfg.PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE
    if kind == "window" and cfg.EXPORT.PREPROCESS:
        return f"window, inside: {group.WINDOW[0]:g} to {group.WINDOW[1]:g} of the scan become 0 to 1, clipped"
    if kind == "window":
        return f"outside: give it the scan from {group.WINDOW[0]:g} to {group.WINDOW[1]:g} as 0 to 1, clipped"
    if group.SCOPE == "volume":
        voxels = "voxels above 0" if group.FOREGROUND else "voxels"
        first = "their percentiles {:g} and {:g} become 0 and 1".format(*group.PERCENTILES)
        if kind == "zscore":
            black = ", and 0 becomes the mean" if group.FOREGROUND else ""
            first = f"{LOWEST:g} and {HIGHEST:g} standard deviations from their mean become 0 and 1{black}"
        return f"outside: give it the values of a slice scaled by all {voxels} of its volume: {first}, clipped"
    if group.SCOPE == "dataset":
        return f"{kind}, inside, by the statistics of the training set: give it the pixel values above"
    return "" if kind == "normalize" else f"{kind}, inside: give it whole images, with the pixel values above"


def example_code(cfg: DictConfig) -> str:
    """Python lines that read an image and run the exported file beside them."""
    size = "" if cfg.EXPORT.SIZE == "dynamic" else f".resize(({cfg.INPUT.WIDTH}, {cfg.INPUT.HEIGHT}))"
    packages, *run = FORMATS[cfg.EXPORT.FORMAT].code.replace("OUTPUT", output_name(cfg.EXPORT)).splitlines()
    if cfg.INPUT.CHANNELS in (GREY, COLOUR) and is_picture(cfg) and stored_range(cfg) is None:
        mode, batch = ("L", "[None, ..., None]") if cfg.INPUT.CHANNELS == GREY else ("RGB", "[None]")
        pixels = f'np.asarray(Image.open("image.png").convert("{mode}"){size}){batch}'
        read = ["from PIL import Image", f"image = {scaling_code(cfg, pixels)}"]
    else:
        pixels = scaling_code(cfg, 'np.load("image.npy")[None]')
        read = [f"image = {pixels}  # values as stored, (height, width, channels)"]
    return "\n".join([packages, "import numpy as np", *read, *run])


def scaling_code(cfg: DictConfig, pixels: str) -> str:
    """The Python expression that makes an input of stored values, which the expression `pixels` gives."""
    if input_type(cfg) == "uint8":
        return pixels
    ends, floats = stored_range(cfg), f'{pixels}.astype("float32")'
    if cfg.EXPORT.PREPROCESS:
        return floats
    if ends is None or ends == (0, LEVELS):
        return f"{floats} / {255 if ends is None else LEVELS}"
    return f"np.clip(({floats} - {ends[0]:.9g}) / {ends[1] - ends[0]:.9g}, 0, 1)"


def describe_values(cfg: DictConfig) -> str:
    """What a value of the input is."""
    ends = stored_range(cfg)
    if ends is None and cfg.EXPORT.PREPROCESS:
        return "uint8 as stored (0 to 255); scaled inside"
    if ends is None:
        return "float32 in [0, 1]: stored value / 255, of 16-bit images / 65535"
    span = f"{ends[0]:.9g} to {ends[1]:.9g} become 0 to 1"
    if cfg.EXPORT.PREPROCESS:
        return f"float32, values as stored; {span} inside, those beyond are clipped"
    return f"float32 in [0, 1]: stored values from {span}, those beyond are clipped"
