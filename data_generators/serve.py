"""Make batches for a training process elsewhere, which names this one in DATASET.SERVICE.

On each host of the list, with what train.py is given besides (folders may differ) and the host's number in the list:

    python -m data_generators.serve DATASET.SERVICE=[host1:5050,host2:5050] DATA_GENERATOR_TYPE=TF_DATA +serve=0

Whoever reaches the port, and the one above it, gets the batches: for networks that are trusted.
"""

import time
from dataclasses import dataclass

import numpy as np

from data_generators import build_dataset
from data_generators.sampler import EpochSampler
from utils.base.errors import UserError
from utils.base.startup import quiet_stderr
from utils.config.command import entry


@dataclass(frozen=True)
class PartOfEpoch:
    """The order of what one host makes of one epoch: of n hosts the k-th makes each n-th part from the k-th on.

    Attributes:
        sampler: `data_generators.sampler.EpochSampler`.
        epoch: int.
        size: int, samples of a part.
        host: (number of this host, hosts).
    """

    sampler: EpochSampler
    epoch: int
    size: int
    host: tuple

    def next_epoch(self):
        draws, (number, hosts) = self.sampler.draws(self.epoch), self.host
        starts = range(number * self.size, len(draws), hosts * self.size)
        return np.concatenate([draws[:0], *(draws[start : start + self.size] for start in starts)])


def serve(cfg):
    """Make the batches of the host with the number `serve` in DATASET.SERVICE, until interrupted."""
    hosts, number = list(cfg.DATASET.SERVICE or []), cfg.get("serve", 0)
    if number >= len(hosts):
        raise UserError(f"+serve={number}: DATASET.SERVICE={hosts} must name this host, counted from 0.")
    with quiet_stderr():
        from data_generators.loaders.service import name_of_data, name_of_part, place_of, start_server
        from data_generators.loaders.tf_data import sample_dataset

        server, register = start_server(*place_of(hosts[number]))

    def register_epochs(samples, sampler, read, spec, batch_size, workers):
        (shape, image_type), *rest = spec
        for kind in {image_type, "float32"}:  # training asks for one of them, as its images are
            form = [(shape, kind), *rest]
            data = name_of_data(cfg, samples, form)
            for epoch in range(cfg.HYPER_PARAMETERS.EPOCHS):
                part = PartOfEpoch(sampler, epoch, batch_size, (number, len(hosts)))
                dataset = sample_dataset(samples, part, read, form, batch_size, workers)
                register(dataset, dataset_id=name_of_part(data, epoch, part.host))
        return dataset

    build_dataset(cfg, "train", augment=True, as_stored=True, loader=register_epochs)
    print(f"Serving as host {number} of {len(hosts)} at {hosts[number]}, until Ctrl-C.", flush=True)
    while server:
        time.sleep(60)


if __name__ == "__main__":
    entry(serve)()
