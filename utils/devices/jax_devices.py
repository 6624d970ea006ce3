"""The devices of a run on JAX, and how batches and variables lie on them. JAX is imported once there are some."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import jax
    from jax.sharding import NamedSharding

AXIS = "replica"


@dataclass(frozen=True)
class JaxDevices:
    """The devices that train together, those of all processes: a mesh of one axis.

    Variables lie on each of them, and each takes an equal part of a batch. A step is one program over the whole batch,
    which XLA divides. So batch normalisation sees the batch of all devices, as MODEL.SYNC_BATCH_NORM has it, and N
    devices compute what one would with the N-fold batch.

    Attributes:
        devices: of all processes, those of process 0 first.
        name: of the strategy, for the summary of a run.

    Example:
        >>> import jax
        >>> JaxDevices(tuple(jax.devices()[:1]), "single").num_replicas_in_sync
        1
    """

    devices: tuple[jax.Device, ...]
    name: str

    @property
    def num_replicas_in_sync(self) -> int:
        """Devices of all processes."""
        return len(self.devices)

    @property
    def worker(self) -> int:
        """The number of this process."""
        import jax

        return jax.process_index()

    @property
    def workers(self) -> int:
        """Processes that train together."""
        return len({device.process_index for device in self.devices})

    @cached_property
    def local(self) -> tuple[jax.Device, ...]:
        """The devices of this process."""
        return tuple(device for device in self.devices if device.process_index == self.worker)

    def scope(self) -> contextlib.AbstractContextManager[None]:
        """Variables need no scope here: `compiled` puts them where they belong."""
        return contextlib.nullcontext()

    def alone(self) -> JaxDevices:
        """The devices of this process, for what each process does by itself."""
        return self if self.workers == 1 else JaxDevices(self.local, self.name)

    @cached_property
    def replicated(self) -> NamedSharding:
        """The whole array on each device."""
        return self.sharding()

    @cached_property
    def divided(self) -> NamedSharding:
        """A part of the array on each device, by its first axis."""
        return self.sharding(AXIS)

    def sharding(self, *axes: str) -> NamedSharding:
        """How an array lies on the devices whose first axes are divided so."""
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        return NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec(*axes))

    def put_batch(self, batch: Sequence[Any]) -> tuple[Any, ...]:
        """Copy a batch to the devices, without waiting for it.

        Args:
            batch: arrays `(batch, ...)` or None; with several processes each gives its own part, all of one size.

        Returns:
            The arrays, divided between the devices. A batch that they cannot share equally lies whole on each of them:
            each computes all of it.

        Raises:
            ValueError: with several processes, whose parts are not the same, it cannot lie whole on each.
        """
        import jax

        count = len(batch[0])
        if self.workers > 1 and count % len(self.local):
            raise ValueError(f"{len(self.local)} devices cannot share {count} images")
        sharding = self.divided if count % len(self.local) == 0 else self.replicated
        put = jax.device_put if self.workers == 1 else put_part
        return tuple(None if array is None else put(np.asarray(array), sharding) for array in batch)

    def put_variable(self, value: jax.Array) -> jax.Array:
        """The value on all devices; the same array if it lies there already."""
        import jax

        if value.sharding == self.replicated:
            return value
        if not value.is_fully_addressable:  # on the devices of all processes: take those of this one
            parts = [part.data for part in value.addressable_shards if part.device in self.local]
            return jax.make_array_from_single_device_arrays(value.shape, self.replicated, parts)
        return jax.device_put(value if self.workers == 1 else np.asarray(value), self.replicated)


def put_part(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """The array that the parts of all processes make up."""
    import jax

    return jax.make_array_from_process_local_data(sharding, array)
