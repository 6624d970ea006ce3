"""DATASET.SERVICE: training batches that other processes prepare, through the service of tf.data.

Each of n hosts runs `data_generators.serve` and prepares every n-th part of an epoch, of BATCH_SIZE samples each.
"""

import hashlib
import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import tensorflow as tf
from omegaconf import DictConfig, OmegaConf

from data_generators.loaders import Batch
from data_generators.loaders.tf_data import untuned
from data_generators.reading.readers import Sample, SampleReader
from data_generators.sampler import EpochSampler
from utils.base.errors import UserError

READ_AHEAD = 2  # batches that are ready while training takes a step
TIMEOUT = 5.0  # seconds without a batch after which the hosts are checked
# Settings that decide what the batches hold. Folders may differ from host to host.
SETTINGS = ("AUGMENTATION", "DATASET", "HYPER_PARAMETERS.BATCH_SIZE", "INPUT", "PREPROCESS_DATA", "SEED")
IGNORED_KEYS = {"SERVICE", "CACHE", "REPORT_PATH", "VERIFIED_PATH", "FOLDS", "TRAIN", "VAL", "TEST", "DROP_REMAINDER"}


def data_id(cfg: DictConfig, samples: Sequence[Sample], reader: SampleReader) -> str:
    """Text that is the same on all hosts that prepare the same batches."""
    settings = {key: OmegaConf.select(cfg, key) for key in SETTINGS}
    settings["DATASET"] = {key: value for key, value in cfg.DATASET.items() if key not in IGNORED_KEYS}
    names = [Path(str(sample.image)).name for sample in samples]
    specs = [(list(shape), dtype) for shape, dtype in (*reader.specs, *reader.moved_specs[1:])]
    description = OmegaConf.to_container(OmegaConf.create([settings, names, specs]))
    return hashlib.sha256(json.dumps(description).encode()).hexdigest()[:16]


def part_id(data: str, epoch: int, host: tuple[int, int]) -> str:
    """The text under which a host, `(its number, hosts)`, offers its part of an epoch."""
    number, hosts = host
    return f"{data}-{number}-of-{hosts}-{epoch}"


def split_address(host: str) -> tuple[str, int]:
    """`name:port` -> (name, port)."""
    name, _, port = host.rpartition(":")
    return name, int(port)


def start_server(name: str, port: int) -> tuple[Any, Callable[..., Any]]:
    """Start the service in this process, on a port and the one above it.

    Returns:
        The server, which stops when it is garbage collected, and a function (dataset, dataset_id=text) that offers a
        `tf.data.Dataset` under that text.

    Raises:
        UserError: a port is taken.
    """
    for wanted in (port, port + 1):
        try:
            # The service itself would share a port with another one.
            with socket.socket() as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that ended do not count
                free.bind(("", wanted))
                free.listen()
        except OSError as error:
            raise UserError(f"DATASET.SERVICE: the port {wanted} cannot be used: {error.strerror}.") from None
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=port))
    worker = service.WorkerServer(service.WorkerConfig(f"localhost:{port}", f"{name}:{port + 1}", port + 1))
    return (dispatcher, worker), partial(service.register_dataset, dispatcher.target)


class ServiceBatches:
    """Batches from the hosts of DATASET.SERVICE, see `data_generators.loaders.Loader`.

    Raises:
        UserError: a host does not answer, or serves other data.
    """

    def __init__(
        self,
        cfg: DictConfig,
        samples: Sequence[Sample],
        sampler: EpochSampler,
        reader: SampleReader,
        batch_size: int,
        workers: int,
    ) -> None:
        self.hosts, self.sampler = list(cfg.DATASET.SERVICE), sampler
        self.parts = batch_size // cfg.HYPER_PARAMETERS.BATCH_SIZE  # of a batch; one for each replica
        self.data = data_id(cfg, samples, reader)
        self.spec = tuple(tf.TensorSpec((None, *shape), dtype) for shape, dtype in reader.specs)
        self.check_hosts()
        self.streams(cfg.HYPER_PARAMETERS.EPOCHS - 1)  # which they register last

    def __len__(self) -> int:
        return self.sampler.steps

    def check_hosts(self) -> None:
        """Raise a UserError if a host does not answer."""
        for number, host in enumerate(self.hosts):
            try:
                socket.create_connection(split_address(host), TIMEOUT).close()
            except OSError as error:
                raise UserError(
                    f"DATASET.SERVICE: {host} does not answer ({error.strerror or error}). Start python -m "
                    f"data_generators.serve with +serve={number} there, then type the same here again."
                ) from None

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = self.sampler.epoch, self.sampler.step
        self.sampler.set_epoch(epoch + 1)
        ended = threading.Event()
        ready: queue.Queue = queue.Queue(READ_AHEAD)
        # A call that waits for a dead host never returns; a daemon thread lets the program end all the same.
        threading.Thread(target=read_ahead, args=(self.batches(epoch, first), ready, ended), daemon=True).start()
        try:
            while True:
                try:
                    batch, error = ready.get(timeout=TIMEOUT)
                except queue.Empty:
                    self.check_hosts()
                    continue
                if error is not None:
                    raise error
                if batch is None:
                    return
                yield batch
        finally:
            ended.set()

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """The batches of an epoch, from step `first` on."""
        parts = self.all_parts(epoch)
        for step in range(self.sampler.steps):
            batch = list(islice(parts, self.parts))
            if step >= first:
                yield batch[0] if len(batch) == 1 else tuple(tf.concat(part, 0) for part in zip(*batch, strict=True))

    def streams(self, epoch: int) -> list[tf.data.Dataset]:
        """The `tf.data.Dataset` of each host for an epoch."""
        service, found = tf.data.experimental.service, []
        for number, host in enumerate(self.hosts):
            name = part_id(self.data, epoch, (number, len(self.hosts)))
            try:
                stream = service.from_dataset_id(service.ShardingPolicy.OFF, f"grpc://{host}", name, self.spec)
            except tf.errors.NotFoundError:
                raise UserError(
                    f"DATASET.SERVICE: {host} was started with different settings. Restart it with "
                    f"+serve={number} and the hosts, files, settings and epochs of this command."
                ) from None
            found.append(untuned(stream))
        return found

    def all_parts(self, epoch: int) -> Iterator[Batch]:
        """The parts of an epoch in their order: one of each host in turn."""
        for stream in cycle([iter(stream) for stream in self.streams(epoch)]):
            part = next(stream, None)
            if part is None:
                return
            yield part


def read_ahead(batches: Iterator[Batch], ready: queue.Queue, ended: threading.Event) -> None:
    """Put `(batch, None)` into a queue for each batch, `(None, None)` after the last, or `(None, error)`."""
    try:
        for batch in batches:
            if not put(ready, (batch, None), ended):
                return
        put(ready, (None, None), ended)
    except Exception as error:  # of any type: __iter__ raises it
        put(ready, (None, error), ended)


def put(ready: queue.Queue, item: Any, ended: threading.Event) -> bool:
    """Put an item into a queue as soon as there is room; False if iteration has ended."""
    while not ended.is_set():
        try:
            ready.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
