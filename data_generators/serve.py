"""Prepare batches for a training process elsewhere, which names this host in DATASET.SERVICE.

Run this on each host of the list, with the overrides of train.py (folders may differ) and the number of the host:

    python -m data_generators.serve DATASET.SERVICE=[host1:5050,host2:5050] DATA_GENERATOR_TYPE=TF_DATA +serve=0

Use it in trusted networks only: anyone who reaches the port, or the one above it, can read the batches. TensorFlow is
imported in `serve`, so that --help and config errors do without it.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
from omegaconf import DictConfig

from data_generators import build_dataset
from data_generators.sampler import EpochSampler
from utils.base.errors import UserError
from utils.base.startup import quiet_stderr
from utils.config.command import command


@dataclass(frozen=True)
class HostSampler:
    """The draws of one host in one epoch: of n hosts host k prepares part k, k + n, ...

    Attributes:
        sampler: draws whole epochs.
        epoch: the epoch.
        size: samples of a part.
        host: (number of this host, hosts).
    """

    sampler: EpochSampler
    epoch: int
    size: int
    host: tuple[int, int]

    def next_epoch(self) -> np.ndarray:
        """int64 `(draws, 3)`, see `EpochSampler`; the same at each call."""
        draws, (number, hosts) = self.sampler.draws(self.epoch), self.host
        starts = range(number * self.size, len(draws), hosts * self.size)
        return np.concatenate([draws[:0], *(draws[start : start + self.size] for start in starts)])


def serve(cfg: DictConfig) -> None:
    """Prepare the batches of host number `+serve` in DATASET.SERVICE, until interrupted."""
    hosts, number = list(cfg.DATASET.SERVICE or []), cfg.get("serve", 0)
    if number >= len(hosts):
        raise UserError(f"+serve={number}: DATASET.SERVICE={hosts} must name this host, counted from 0.")
    with quiet_stderr(loud=cfg.VERBOSE == 2):
        from data_generators.loaders.service import data_id, part_id, split_address, start_server
        from data_generators.loaders.tf_data import sample_dataset

        server, register = start_server(*split_address(hosts[number]))

    def register_epochs(samples, sampler, reader, batch_size, workers):
        # Training asks for one of two types, depending on its images.
        for image_dtype in {reader.image_spec.dtype, "float32"}:
            typed = replace(reader, image_dtype=image_dtype)
            data = data_id(cfg, samples, typed)
            for epoch in range(cfg.HYPER_PARAMETERS.EPOCHS):
                part = HostSampler(sampler, epoch, batch_size, (number, len(hosts)))
                dataset = sample_dataset(samples, part, typed, batch_size, workers)
                register(dataset, dataset_id=part_id(data, epoch, part.host))
        return ()

    build_dataset(cfg, "train", augment=True, as_stored=True, loader=register_epochs)
    print(f"Serving as host {number} of {len(hosts)} at {hosts[number]}, until Ctrl-C.", flush=True)
    while server:
        time.sleep(60)


if __name__ == "__main__":
    command(serve)()
