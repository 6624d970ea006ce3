"""TFRecord shards of images and masks: where each picture lies in them.

A shard `train-00-128.tfrec` holds 128 records (https://www.tensorflow.org/tutorials/load_data/tfrecord), each a
`tf.train.Example` of the features `image` and `mask`, whole picture files, and `name` and `mask_name`. An index tells
where the bytes of each picture are, so that samples are read in any order, like files. Needs no TensorFlow, except to
read `gs://` and other places that are not on this machine; there every picture is a request of its own, and the index
reads all shards once at each start.
"""

import functools
import glob
import re
import struct
from pathlib import Path
from typing import NamedTuple

import google_crc32c
from omegaconf import ListConfig

from utils.errors import UserError
from utils.files import is_list_file, read_list, resolve_path

ENDING = ".tfrec"
LENGTH, CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
HEADER = LENGTH.size + CHECKSUM.size  # length of the record, checksum of the length; after the record its checksum
BYTES = 2  # how protobuf marks a field of bytes


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


def read_records(path, file):
    """Yield `(offset, bytes)` of each record, checked."""
    position = 0
    while header := file.read(HEADER):
        size = LENGTH.unpack(header[:8])[0] if len(header) == HEADER else None
        if size is not None and CHECKSUM.unpack(header[8:])[0] != checksum(header[:8]):
            raise UserError(f"{path}: is damaged at byte {position}: the checksum is wrong. Copy or write it again.")
        data = b"" if size is None else file.read(size + CHECKSUM.size)
        if size is None or len(data) < size + CHECKSUM.size:
            raise UserError(
                f"{path}: is cut short at byte {position + len(header) + len(data)}. Copy or write it again."
            )
        if CHECKSUM.unpack(data[size:])[0] != checksum(data[:size]):
            raise UserError(f"{path}: is damaged in the record at byte {position}: the checksum is wrong.")
        yield position + HEADER, data[:size]
        position += HEADER + size + CHECKSUM.size


def write_records(file, examples):
    """Write bytes as records of a TFRecord file."""
    for data in examples:
        size = LENGTH.pack(len(data))
        file.write(size + CHECKSUM.pack(checksum(size)) + data + CHECKSUM.pack(checksum(data)))


def checksum(data):
    """CRC-32C as TFRecord masks it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def encode_example(features):
    """`{name: bytes}` -> a `tf.train.Example`.

    In protobuf, https://protobuf.dev/programming-guides/encoding: Example{1: Features{1: entries{1: name, 2:
    Feature{1: BytesList{1: value}}}}}.
    """
    entries = (field(1, key.encode()) + field(2, field(1, field(1, value))) for key, value in features.items())
    return field(1, b"".join(field(1, entry) for entry in entries))


def field(number, value):
    return bytes([number << 3 | BYTES]) + varint(len(value)) + value


def varint(number):
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def decode_example(data):
    """`{name: (start, end) of its bytes in data}` of a `tf.train.Example`; features of numbers are left out.

    Raises:
        IndexError, ValueError: it is none.
    """
    found = {}
    for features in fields(data, (0, len(data)), 1):
        for entry in fields(data, features, 1):
            key = text(data, next(fields(data, entry, 1), None))
            for feature in fields(data, entry, 2):
                for values in fields(data, feature, 1):
                    for value in fields(data, values, 1):
                        found[key] = value
    return found


def fields(data, bounds, number):
    """Yield (start, end) of the fields of bytes with a number that lie between bounds."""
    position, end = bounds
    while position < end:
        tag, position = read_varint(data, position)
        if tag & 7 != BYTES:
            raise ValueError("an Example has fields of bytes only, down to its lists")
        size, position = read_varint(data, position)
        if position + size > end:
            raise ValueError("a field is longer than what holds it")
        if tag >> 3 == number:
            yield position, position + size
        position += size


def read_varint(data, position):
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


def text(data, bounds):
    return "" if bounds is None else data[bounds[0] : bounds[1]].decode()


def length(bounds):
    return bounds[1] - bounds[0]
