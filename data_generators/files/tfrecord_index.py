"""Find TFRecord shards, on disk or in cloud storage, and index the records in them."""

import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, ListConfig

from data_generators.files.cloud import find_remote, is_remote, open_file, remote_stamp
from data_generators.files.tfrecord import decode_example, length, read_records, text
from utils.base.errors import UserError
from utils.base.files import is_list_file, read_list, resolve_path
from utils.base.listing import expand_pattern, list_folder, scan
from utils.base.text_files import check_file_name

SHARD_SUFFIX = ".tfrec"


class ShardEntry(NamedTuple):
    """An encoded image inside a shard, used like a path: see `data_generators.files.image_file.ImageFile`.

    Attributes:
        shard: path of the shard, or its URL.
        name: of the image file that was packed.
        offset, length: bytes.
    """

    shard: str
    name: str
    offset: int
    length: int

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def parent(self) -> Path:
        return Path(self.shard).parent

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"

    def __fspath__(self) -> str:
        return str(self)

    def read_bytes(self) -> bytes:
        with open_file(self.shard) as file:
            file.seek(self.offset)
            return file.read(self.length)


def name_of_shards(shard: str) -> str:
    """What the shards of a split have in common: `<name>-<shard>-<count>.tfrec`.

    >>> name_of_shards("data/train-00-6.tfrec")
    'train'
    """
    return Path(shard).name.rsplit("-", 2)[0]


ShardPair = tuple[ShardEntry, ShardEntry | None]  # image and mask


def find_shards(cfg: DictConfig, value: Any) -> list[str] | None:
    """The shards that IMAGES_PATH names, in the order of their names, or None if it names image files.

    Args:
        value: a folder of shards, a pattern such as `data/train-*.tfrec`, a list of shards, or a .txt file
            that lists some.

    Raises:
        UserError: the .txt file cannot be read, or a shard of a list does not exist.
    """
    if is_list_file(value) and isinstance(value, str):
        return listed_shards(value, resolve_path(cfg, value))
    if isinstance(value, ListConfig):
        found = {str(path): find_shards(cfg, path) for path in value}
        for path, shards_there in found.items():
            if shards_there == []:
                raise UserError(f"{path}: there is no such shard.")
        shards = [shard for shards_there in found.values() for shard in shards_there or []]
        return shards if shards and all(str(path).endswith(SHARD_SUFFIX) for path in value) else None
    if not isinstance(value, str):
        return None
    path = value if is_remote(value) else str(resolve_path(cfg, value))
    if value.endswith(SHARD_SUFFIX):
        return sorted(find_files(path))
    if is_remote(value) or is_folder_of_shards(cfg, value):
        return sorted(find_files(f"{path.rstrip('/')}/*{SHARD_SUFFIX}"))
    return None


def listed_shards(value: str, path: Path) -> list[str] | None:
    """The shards that a text file lists; None if it lists image files, or does not exist."""
    files = read_list(path) if path.is_file() else []
    if not files or any(file.suffix != SHARD_SUFFIX for file in files):
        return None
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{value}: the shard {missing[0]} does not exist.")
    return sorted(map(str, files))


def is_folder_of_shards(cfg: DictConfig, value: str) -> bool:
    folder = resolve_path(cfg, value)
    if not folder.is_dir() or not any(entry.name.lower().endswith(SHARD_SUFFIX) for entry, _ in scan(folder)):
        return False
    return bool(list_folder(folder, [SHARD_SUFFIX]).files)


def find_files(pattern: str) -> list[str]:
    """The files that a pattern matches, on disk or in cloud storage."""
    if not is_remote(pattern):
        return [str(path) for path in expand_pattern(Path(pattern)) if path.is_file()]
    return find_remote(pattern)


def read_shard(path: str) -> list[ShardPair]:
    """The images of a shard.

    Returns:
        list of `(image, mask or None)`, each a `ShardEntry`, in the order of the records.

    Raises:
        UserError: the shard is cut short or damaged, or holds another number of records than its name says.
    """
    if is_remote(path):
        return index_shard(path, remote_stamp(path))
    try:
        found = Path(path).stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    return index_shard(path, (found.st_size, found.st_mtime_ns))


@functools.lru_cache(maxsize=10_000)
def index_shard(path: str, stamp: tuple[int, int]) -> list[ShardPair]:
    """`read_shard`, indexed once for each stamp, which changes with the file."""
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
            image, mask = ShardEntry(path, name, start + features["image"][0], length(features["image"])), None
            if "mask" in features:
                mask_name = text(data, features.get("mask_name")) or name
                mask = ShardEntry(path, mask_name, start + features["mask"][0], length(features["mask"]))
            for entry in filter(None, (image, mask)):
                check_file_name(entry.name, f"{path}: record {number}")
            pairs.append((image, mask))
    named = re.search(r"-(\d+)\.tfrec$", path)
    if named and int(named.group(1)) != len(pairs):
        raise UserError(
            f"{path}: holds {len(pairs)} records, its name says {int(named.group(1))}. Write the shards again."
        )
    return pairs
