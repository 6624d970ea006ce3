"""How images were prepared: `prepared.json` in the folder that holds the folder of images.

The preparation writes it, training takes its values into the config that is saved beside the weights, and prediction
makes its slices from new scans with them. A file from elsewhere can set nothing but the keys of role PREPARATION and
the two keys of the classes, each within the range of `utils.config.schema`: no path, no reference to other values.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from data_generators.files.cloud import open_file
from data_generators.files.image_file import ImageFile, parts_of
from data_generators.files.tfrecord_index import ShardEntry
from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.base.keys import Role
from utils.config.overrides import assignment
from utils.config.schema import SCHEMA, keys_with_role
from utils.config.values import check_value

FILE = "prepared.json"
CLASS_NAMES = "OUTPUT.CLASS_NAMES"
MULTI_LABEL = "OUTPUT.MULTI_LABEL"
PREPARED_BY = "DATA_PREPARATION.PREPARED_BY"
LITS_COMMAND = "preprocess_data"  # knows its classes by the layout, which people also use for other organs
MAX_BYTES = 1_000_000
MAX_TEXT = 200  # characters of a name
# The record of the pairs that a converter wrote, in its output folder, has the same name and begins like this.
PAIRS = b'{"origin"'

CHANNELS = "DATA_PREPARATION.CHANNELS"  # left out where a slice has its neighbours as channels
DEPTH = "DATA_PREPARATION.DEPTH"  # left out where it is 8

# What every slice of this version is. A file that says otherwise is of a version whose slices this one cannot make.
SLICES = {"channels": ["below", "slice", "above"], "orientation": "radiological", "values": "uint8"}


class Preparation(NamedTuple):
    """What one file says. file: its path; settings: `{key of the config: value}`, of pictures those of classes."""

    file: Path
    settings: dict[str, Any]


def allowed_keys() -> list[str]:
    """The keys that a preparation may set."""
    return [*keys_with_role(Role.PREPARATION), CLASS_NAMES, MULTI_LABEL]


def write_preparation(folder: Path, settings: Mapping[str, Any], finished: bool = True) -> None:
    """Write the settings with which the images below a folder were prepared; a file that says the same stays.

    Args:
        folder: that holds the folder of images, or the shards.
        settings: `{key of the config: value}`.
        finished: False while images are written, so that those of two preparations are never taken for one.
    """
    text = (
        json.dumps({"finished": finished, "settings": dict(settings), "slices": slices_of(settings)}, indent=1) + "\n"
    )
    path = folder / FILE
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (OSError, ValueError):
        pass  # there is none, or it is damaged: it is replaced
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_preparation(folder: Path) -> Preparation | None:
    """The settings in a folder, or None if it has no file of them: images of another source or of an earlier version.

    Raises:
        UserError: the file is damaged, or sets what no preparation sets.
    """
    path = folder / FILE
    try:
        with open_file(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    if data.startswith(PAIRS):
        return None
    advice = "Prepare the data again; or remove the file and type the settings."
    try:
        if len(data) > MAX_BYTES:
            raise UserError(f"it is larger than {MAX_BYTES:,} bytes")
        return Preparation(path, checked_settings(json.loads(data.decode("utf-8"))))
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is damaged: it is not JSON. {advice}") from None
    except UserError as error:
        raise UserError(
            f"{path}: cannot be used as the record of a preparation: {str(error).rstrip('.')}. {advice}"
        ) from None


def checked_settings(content: object) -> dict[str, Any]:
    """The settings of the content of a file.

    Raises:
        UserError: says which part is wrong.
    """
    settings = content.get("settings") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(settings, dict):
        raise UserError("it has no settings")
    if content.get("finished") is not True:
        raise UserError("it was not finished, and images may be missing or be those of an earlier one")
    allowed, declared = allowed_keys(), dict(SCHEMA.leaves())
    for key, value in settings.items():
        if key not in allowed:
            raise UserError(f"{short(key)} is no setting of a preparation")
        refuse_odd_text(key, value)
        check_value(key, value, declared[key])
    if content.get("slices") != slices_of(settings):
        raise UserError(f"its slices are {short(content.get('slices'))}; this version makes {slices_of(settings)}")
    names = settings.get(CLASS_NAMES)
    if names is not None and (len(names) < 2 or len(set(names)) < len(names)):
        raise UserError(f"{CLASS_NAMES} is {short(names)}: background and the classes, each name once")
    if settings and set(settings) <= {CLASS_NAMES, MULTI_LABEL}:
        return settings
    missing = [key for key in allowed if key not in (*settings, MULTI_LABEL, CHANNELS, DEPTH)]
    if missing:
        raise UserError(f"{missing[0]} is missing")
    low, high = (settings[f"DATA_PREPARATION.SCAN_{end}_VALUE"] for end in ("MIN", "MAX"))
    if (low is None) != (high is None) or (low is not None and low >= high):
        raise UserError(f"its window is {short(low)} to {short(high)}")
    if (settings["DATA_PREPARATION.RESIZED_HEIGHT"] is None) != (settings["DATA_PREPARATION.RESIZED_WIDTH"] is None):
        raise UserError("it has a height without a width, or a width without a height")
    return {DEPTH: 8, **settings}


def slices_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the slices of a preparation are, see SLICES."""
    names = settings.get(CHANNELS)
    slices = SLICES if names is None else SLICES | {"channels": list(names)}
    return slices | {"values": f"uint{settings.get(DEPTH, 8)}"}


def is_name(text: str) -> bool:
    """Whether a text can be a name in the config: not empty or very long, no control characters, no reference."""
    return 0 < len(text) <= MAX_TEXT and text.isprintable() and "${" not in text


def refuse_odd_text(key: str, value: object) -> None:
    """Raise a UserError for text that is no name."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and not is_name(text):
            raise UserError(f"{key} is {short(text)}")


def short(value: object) -> str:
    """A value from a file for a message."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def folder_of_preparation(image: ImageFile) -> Path:
    """The folder whose `prepared.json` is that of an image: above the folder of images, or with the shards."""
    return image.parent if isinstance(parts_of(image)[0], ShardEntry) else image.parent.parent


def single_preparation(images: Iterable[ImageFile]) -> Preparation | None:
    """How images were prepared, or None if it is not known.

    Raises:
        UserError: in two ways; or see `read_preparation`.
    """
    found = find_preparations(images)
    for other in found[1:]:
        for key, value in found[0].settings.items():
            if other.settings.get(key) != value and key != PREPARED_BY:
                raise UserError(
                    f"The images were prepared in two ways: {found[0].file} has {assignment(key, value)}, {other.file} "
                    f"{assignment(key, other.settings.get(key))}. Prepare all of them alike."
                )
    return found[0] if found else None


def find_preparations(images: Iterable[ImageFile]) -> list[Preparation]:
    """What the files of all folders of these images say; folders without one are left out.

    Raises:
        UserError: see `read_preparation`.
    """
    folders = dict.fromkeys(map(folder_of_preparation, images))
    return [found for folder in folders if (found := read_preparation(folder)) is not None]
