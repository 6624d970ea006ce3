"""Find TFRecord shards and index the records in them."""

import functools
import glob
import re
from pathlib import Path
from typing import NamedTuple

from omegaconf import ListConfig

from data_generators.files.tfrecord import decode_example, length, read_records, text
from utils.base.errors import UserError
from utils.base.files import is_list_file, read_list, resolve_path

ENDING = ".tfrec"


class Entry(NamedTuple):
    """A picture inside a shard; stands where a path stands."""

    shard: str
    name: str
    offset: int
    length: int

    @property
    def stem(self):
        return Path(self.name).stem

    @property
    def suffix(self):
        return Path(self.name).suffix

    @property
    def parent(self):
        return Path(self.shard).parent

    def __str__(self):
        return f"{self.shard}/{self.name}"

    __fspath__ = __str__

    def read_bytes(self):
        with open_file(self.shard) as file:
            file.seek(self.offset)
            return file.read(self.length)


def find_shards(cfg, value):
    """The shards that IMAGES_PATH names, in the order of their names, or None where it names pictures.

    Args:
        value: a folder of shards, a pattern such as `data/train-*.tfrec`, a list of shards, or a .txt file
            that lists some.

    Raises:
        UserError: such a file cannot be read, or a shard that it lists is not there.
    """
    if is_list_file(value) and isinstance(value, str):
        return listed_shards(value, resolve_path(cfg, value))
    if isinstance(value, ListConfig):
        shards = [shard for entry in value for shard in find_shards(cfg, entry) or []]
        return shards if shards and all(str(entry).endswith(ENDING) for entry in value) else None
    if not isinstance(value, str) or not (value.endswith(ENDING) or "://" in value or is_folder_of_shards(cfg, value)):
        return None
    path = value if "://" in value else str(resolve_path(cfg, value))
    return sorted(find_files(path if value.endswith(ENDING) else f"{path.rstrip('/')}/*{ENDING}"))


def listed_shards(value, path):
    """The shards that a text file lists; None where it lists pictures, or is not there."""
    files = read_list(path) if path.is_file() else []
    if not files or any(file.suffix != ENDING for file in files):
        return None
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{value}: the shard {missing[0]} does not exist.")
    return sorted(map(str, files))


def is_folder_of_shards(cfg, value):
    folder = resolve_path(cfg, value)
    return folder.is_dir() and any(folder.glob(f"*{ENDING}"))


def find_files(pattern):
    if "://" not in pattern:
        return glob.glob(pattern)
    import tensorflow as tf

    return tf.io.gfile.glob(pattern)


def open_file(path):
    if "://" not in path:
        return open(path, "rb")
    import tensorflow as tf

    return tf.io.gfile.GFile(path, "rb")


def read_shard(path):
    """The pictures of a shard.

    Returns:
        list of `(image, mask or None)`, each an `Entry`, in the order of the records.

    Raises:
        UserError: the shard is cut short or damaged, or holds another number of records than its name says.
    """
    if "://" in path:
        return index_shard(path, None)
    try:
        found = Path(path).stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    return index_shard(path, (found.st_size, found.st_mtime_ns))


@functools.lru_cache(maxsize=10_000)
def index_shard(path, stamp):
    """`read_shard`; stamp is anything that changes with the file."""
    pairs = []
    with open_file(path) as file:
        for number, (start, data) in enumerate(read_records(path, file)):
            try:
                features = decode_example(data)
            except (IndexError, ValueError):
                raise UserError(f"{path}: record {number} is not a tf.train.Example.") from None
            if "image" not in features:
                raise UserError(f"{path}: record {number} has no feature `image`, only {', '.join(sorted(features))}.")
            name = text(data, features.get("name")) or f"{Path(path).stem}_{number}.png"
            image, mask = (
                Entry(path, text(data, features.get(key)) or name, start + features[part][0], length(features[part]))
                if part in features
                else None
                for part, key in (("image", "name"), ("mask", "mask_name"))
            )
            pairs.append((image, mask))
    promised = re.search(r"-(\d+)\.tfrec$", path)
    if promised and int(promised.group(1)) != len(pairs):
        raise UserError(
            f"{path}: holds {len(pairs)} records, its name says {int(promised.group(1))}. Write the shards again."
        )
    return pairs
