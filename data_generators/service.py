"""DATASET.SERVICE: training batches made by other processes, here or on other hosts, through the service of tf.data.

On each host of the list, with what train.py is given besides (folders may differ) and the host's number in the list:

    python -m data_generators.service DATASET.SERVICE=[host1:5050,host2:5050] +serve=0 MODEL.TYPE=unet3plus

Host k of n reads and changes, of the order of an epoch, each n-th part of BATCH_SIZE samples from the k-th on. So
training sees what it would see without them: the same samples in the same order, changed in the same way.
"""

import hashlib
import json
import queue
import socket
import threading
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import tensorflow as tf
from omegaconf import OmegaConf

from data_generators.tf_data import sample_dataset
from utils.errors import UserError

AHEAD = 2  # batches that are ready while training takes a step
PATIENCE = 5.0  # seconds without a batch after which the hosts are asked whether they live
# What makes the samples, but for the folders they are in, which may differ from host to host.
SETTINGS = ("AUGMENTATION", "DATASET", "HYPER_PARAMETERS.BATCH_SIZE", "INPUT", "PREPROCESS_DATA", "SEED")
PLACES = {"SERVICE", "CACHE", "REPORT_PATH", "FOLDS", "TRAIN", "VAL", "TEST", "DROP_REMAINDER"}


def name_of_epoch(cfg, samples, spec, epoch):
    """Text that is the same on all hosts that make the same batches."""
    settings = {key: OmegaConf.select(cfg, key) for key in SETTINGS}
    settings["DATASET"] = {key: value for key, value in cfg.DATASET.items() if key not in PLACES}
    names = [Path(str(sample.image)).name for sample in samples]
    about = OmegaConf.to_container(OmegaConf.create([settings, names, spec]))
    return f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}-{epoch}"


def place_of(host):
    """`name:port` -> (name, port)."""
    name, _, port = host.rpartition(":")
    return name, int(port)


@dataclass(frozen=True)
class PartOfEpoch:
    """The order of what one host makes of one epoch.

    Attributes:
        order: `data_generators.order.EpochOrder`.
        epoch, batch_size: int.
        host: (number of this host, hosts).
    """

    order: object
    epoch: int
    batch_size: int
    host: tuple

    def next_epoch(self):
        visits, size, (number, hosts) = self.order.visits(self.epoch), self.batch_size, self.host
        starts = range(number * size, len(visits), hosts * size)
        return np.concatenate([visits[:0], *(visits[start : start + size] for start in starts)])


def serve(cfg):
    """Make the batches of the host with the number `serve` in DATASET.SERVICE, until interrupted."""
    from data_generators import build_dataset

    hosts, number = list(cfg.DATASET.SERVICE or []), cfg.get("serve", 0)
    if number >= len(hosts):
        raise UserError(f"+serve={number}: DATASET.SERVICE={hosts} must name this host, counted from 0.")
    name, port = place_of(hosts[number])
    service = tf.data.experimental.service
    try:
        dispatcher = service.DispatchServer(service.DispatcherConfig(port=port))
        worker = service.WorkerServer(service.WorkerConfig(f"localhost:{port}", f"{name}:{port + 1}", port + 1))
    except (tf.errors.OpError, RuntimeError) as error:
        raise UserError(f"The ports {port} and {port + 1} cannot be used: {str(error).splitlines()[0]}") from None

    def register(samples, order, read, spec, batch_size, workers):
        (shape, image_type), *rest = spec
        for epoch in range(cfg.HYPER_PARAMETERS.EPOCHS):
            part = PartOfEpoch(order, epoch, batch_size, (number, len(hosts)))
            for kind in {image_type, "float32"}:  # training asks for one of them, as its images are
                form = [(shape, kind), *rest]
                dataset = sample_dataset(samples, part, read, form, batch_size, workers)
                service.register_dataset(
                    dispatcher.target, dataset, dataset_id=name_of_epoch(cfg, samples, form, epoch)
                )
        return dataset

    build_dataset(cfg, "train", augment=True, as_stored=True, loader=register)
    print(f"Serving host {number} of {len(hosts)} at {hosts[number]}, until Ctrl-C.", flush=True)
    worker.join()


class ServiceBatches:
    """Batches from the hosts of DATASET.SERVICE; see `data_generators.build_dataset` for shapes and order.

    Raises:
        UserError: a host does not answer, or serves other data.
    """

    def __init__(self, cfg, samples, order, read, spec, batch_size, workers):
        self.hosts, self.order = list(cfg.DATASET.SERVICE), order
        self.parts = batch_size // cfg.HYPER_PARAMETERS.BATCH_SIZE  # of a batch; one for each replica
        self.name_of = lambda epoch: name_of_epoch(cfg, samples, spec, epoch)
        self.spec = tuple(tf.TensorSpec((None, *shape), dtype) for shape, dtype in spec)
        self.check_hosts()

    def __len__(self):
        return self.order.steps

    def check_hosts(self):
        """Raise a UserError where a host does not answer."""
        for number, host in enumerate(self.hosts):
            try:
                socket.create_connection(place_of(host), PATIENCE).close()
            except OSError as error:
                raise UserError(
                    f"DATASET.SERVICE: {host} does not answer ({error.strerror or error}). Start python -m "
                    f"data_generators.service with +serve={number} there, then type the same here again."
                ) from None

    def __iter__(self):
        epoch, first = self.order.epoch, self.order.step
        self.order.begin(epoch + 1)
        ready, ended = queue.Queue(AHEAD), threading.Event()
        # A call that waits for a host which is gone does not come back; a daemon does not keep the program from ending.
        threading.Thread(target=read_ahead, args=(self.batches(epoch, first), ready, ended), daemon=True).start()
        try:
            while True:
                try:
                    batch, error = ready.get(timeout=PATIENCE)
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

    def batches(self, epoch, first):
        """The batches of an epoch, from a step on."""
        parts = self.all_parts(epoch)
        for step in range(self.order.steps):
            batch = list(islice(parts, self.parts))
            if step >= first:
                yield batch[0] if len(batch) == 1 else tuple(tf.concat(part, 0) for part in zip(*batch, strict=True))

    def all_parts(self, epoch):
        """What the hosts make of an epoch, in its order: one part of each in turn."""
        service, name = tf.data.experimental.service, self.name_of(epoch)
        try:
            streams = [
                iter(service.from_dataset_id(service.ShardingPolicy.OFF, f"grpc://{host}", name, self.spec))
                for host in self.hosts
            ]
        except tf.errors.NotFoundError:
            raise UserError(
                f"DATASET.SERVICE: one of {', '.join(self.hosts)} serves other data: it needs the same files, the same "
                "settings and as many epochs. Start it again with what is given here."
            ) from None
        for stream in cycle(streams):
            part = next(stream, None)
            if part is None:
                return
            yield part


def read_ahead(batches, ready, ended):
    """Put `(batch, None)` into a queue for each batch, `(None, None)` after the last, or `(None, error)`."""
    try:
        for batch in batches:
            if not put(ready, (batch, None), ended):
                return
        put(ready, (None, None), ended)
    except Exception as error:  # of any kind: it is raised where the batches are waited for
        put(ready, (None, error), ended)


def put(ready, entry, ended):
    """Put an entry into a queue as soon as there is room; false where nobody takes it any more."""
    while not ended.is_set():
        try:
            ready.put(entry, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


if __name__ == "__main__":
    from utils.config import entry

    entry(serve)()
