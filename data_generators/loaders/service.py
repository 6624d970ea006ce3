"""DATASET.SERVICE: training batches that other processes make, through the service of tf.data.

Each host of the list runs `data_generators.serve`, and makes every n-th part of an epoch, of BATCH_SIZE samples each.
"""

import hashlib
import json
import queue
import socket
import threading
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import tensorflow as tf
from omegaconf import OmegaConf

from data_generators.loaders.tf_data import untuned
from utils.base.errors import UserError

AHEAD = 2  # batches that are ready while training takes a step
PATIENCE = 5.0  # seconds without a batch after which the hosts are asked whether they live
# What makes the samples, but for the folders they are in, which may differ from host to host.
SETTINGS = ("AUGMENTATION", "DATASET", "HYPER_PARAMETERS.BATCH_SIZE", "INPUT", "PREPROCESS_DATA", "SEED")
PLACES = {"SERVICE", "CACHE", "REPORT_PATH", "FOLDS", "TRAIN", "VAL", "TEST", "DROP_REMAINDER"}


def name_of_data(cfg, samples, spec):
    """Text that is the same on all hosts that make the same batches."""
    settings = {key: OmegaConf.select(cfg, key) for key in SETTINGS}
    settings["DATASET"] = {key: value for key, value in cfg.DATASET.items() if key not in PLACES}
    names = [Path(str(sample.image)).name for sample in samples]
    about = OmegaConf.to_container(OmegaConf.create([settings, names, spec]))
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def name_of_part(data, epoch, host):
    """Under which text a host, `(its number, hosts)`, offers what it makes of an epoch."""
    number, hosts = host
    return f"{data}-{number}-of-{hosts}-{epoch}"


def place_of(host):
    """`name:port` -> (name, port)."""
    name, _, port = host.rpartition(":")
    return name, int(port)


def start_server(name, port):
    """Start the service in this process, at two ports.

    Returns:
        What keeps it alive, and a function (dataset, dataset_id=text) that offers a `tf.data.Dataset` under that text.

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
    """Batches from the hosts of DATASET.SERVICE; see `data_generators.build_dataset` for shapes and order.

    Raises:
        UserError: a host does not answer, or serves other data.
    """

    def __init__(self, cfg, samples, sampler, read, spec, batch_size, workers):
        self.hosts, self.sampler = list(cfg.DATASET.SERVICE), sampler
        self.parts = batch_size // cfg.HYPER_PARAMETERS.BATCH_SIZE  # of a batch; one for each replica
        self.data = name_of_data(cfg, samples, spec)
        self.spec = tuple(tf.TensorSpec((None, *shape), dtype) for shape, dtype in spec)
        self.check_hosts()
        self.streams(cfg.HYPER_PARAMETERS.EPOCHS - 1)  # which they offer last

    def __len__(self):
        return self.sampler.steps

    def check_hosts(self):
        """Raise a UserError where a host does not answer."""
        for number, host in enumerate(self.hosts):
            try:
                socket.create_connection(place_of(host), PATIENCE).close()
            except OSError as error:
                raise UserError(
                    f"DATASET.SERVICE: {host} does not answer ({error.strerror or error}). Start python -m "
                    f"data_generators.serve with +serve={number} there, then type the same here again."
                ) from None

    def __iter__(self):
        epoch, first = self.sampler.epoch, self.sampler.step
        self.sampler.set_epoch(epoch + 1)
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
        for step in range(self.sampler.steps):
            batch = list(islice(parts, self.parts))
            if step >= first:
                yield batch[0] if len(batch) == 1 else tuple(tf.concat(part, 0) for part in zip(*batch, strict=True))

    def streams(self, epoch):
        """The `tf.data.Dataset` of each host for an epoch."""
        service, found = tf.data.experimental.service, []
        for number, host in enumerate(self.hosts):
            name = name_of_part(self.data, epoch, (number, len(self.hosts)))
            try:
                stream = service.from_dataset_id(service.ShardingPolicy.OFF, f"grpc://{host}", name, self.spec)
            except tf.errors.NotFoundError:
                raise UserError(
                    f"DATASET.SERVICE: {host} serves something else: it needs the same list of hosts with "
                    f"+serve={number}, the same files, the same settings and as many epochs. Start it again with what "
                    "is given here."
                ) from None
            found.append(untuned(stream))
        return found

    def all_parts(self, epoch):
        """What the hosts make of an epoch, in its order: one part of each in turn."""
        for stream in cycle([iter(stream) for stream in self.streams(epoch)]):
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
