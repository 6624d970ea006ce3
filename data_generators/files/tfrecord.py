"""The TFRecord format, without TensorFlow: records with checksums, and the Example messages inside."""

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from utils.base.errors import UserError

LENGTH, CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
HEADER = LENGTH.size + CHECKSUM.size  # length of the record, checksum of the length; the record's checksum follows it
BYTES = 2  # wire type of bytes in protobuf

Bounds = tuple[int, int]  # start and end in the bytes of a record


def read_records(path: Path | str, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield `(offset, bytes)` of each record; checks the checksums.

    Raises:
        UserError: the file is damaged, `path` names it.
    """
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


def write_records(file: BinaryIO, examples: Iterable[bytes]) -> None:
    """Write each example as a record."""
    for data in examples:
        size = LENGTH.pack(len(data))
        file.write(size + CHECKSUM.pack(checksum(size)) + data + CHECKSUM.pack(checksum(data)))


def checksum(data: bytes) -> int:
    """CRC-32C as TFRecord masks it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def encode_example(features: Mapping[str, bytes]) -> bytes:
    """`{name: bytes}` -> a `tf.train.Example`.

    In protobuf, https://protobuf.dev/programming-guides/encoding: Example{1: Features{1: entries{1: name, 2:
    Feature{1: BytesList{1: value}}}}}.
    """
    entries = (field(1, key.encode()) + field(2, field(1, field(1, value))) for key, value in features.items())
    return field(1, b"".join(field(1, entry) for entry in entries))


def field(number: int, value: bytes) -> bytes:
    """A protobuf field of bytes."""
    return bytes([number << 3 | BYTES]) + varint(len(value)) + value


def varint(number: int) -> bytes:
    """A protobuf integer: 7 bits a byte, the lowest first."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def decode_example(data: bytes) -> dict[str, Bounds]:
    """`{name: (start, end) of its bytes in data}` of a `tf.train.Example`; features of numbers are left out.

    Raises:
        IndexError, ValueError: `data` is not an Example.
    """
    found: dict[str, Bounds] = {}
    for features in fields(data, (0, len(data)), 1):
        for entry in fields(data, features, 1):
            key = text(data, next(fields(data, entry, 1), None))
            for feature in fields(data, entry, 2):
                for values in fields(data, feature, 1):
                    for value in fields(data, values, 1):
                        found[key] = value
    return found


def fields(data: bytes, bounds: Bounds, number: int) -> Iterator[Bounds]:
    """Yield (start, end) of the fields of a number between bounds."""
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


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A protobuf integer, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


def text(data: bytes, bounds: Bounds | None) -> str:
    """The text between bounds, decoded as file names are: what is not UTF-8 stays as it is. Empty without bounds."""
    return "" if bounds is None else os.fsdecode(data[bounds[0] : bounds[1]])


def length(bounds: Bounds) -> int:
    return bounds[1] - bounds[0]
