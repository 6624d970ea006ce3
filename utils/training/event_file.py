"""Write the file that TensorBoard reads, with the package tensorboard alone, on either backend."""

import os
import time
from pathlib import Path

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter

VERSION = "brain.Event:2"  # of the format; the first record of a file


class EventFile:
    """A new file in a folder. What cannot be written is an OSError; the file can be written to again.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{os.getpid()}"
        self.records = RecordWriter(open(folder / name, "ab"))  # noqa: SIM115, closed by `close`
        self.add(Event(file_version=VERSION))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a number."""
        self.add(Event(summary=scalar_pb(tag, value), step=step))

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Add the distribution of an array of any shape."""
        self.add(Event(summary=histogram_pb(tag, values), step=step))

    def image(self, tag: str, image: np.ndarray, step: int) -> None:
        """Add a picture, uint8 `(height, width, 3)` RGB."""
        png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
        height, width = image.shape[:2]
        parts = [str(width).encode(), str(height).encode(), png]
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(parts))])
        tensor = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=parts)
        metadata = create_summary_metadata(display_name=None, description=None)
        self.add(Event(summary=Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]), step=step))

    def add(self, event: Event) -> None:
        """Add a record."""
        event.wall_time = time.time()
        self.records.write(event.SerializeToString())

    def flush(self) -> None:
        """Write what was added."""
        self.records.flush()

    def close(self) -> None:
        """Write what was added, and close the file."""
        self.records.close()
