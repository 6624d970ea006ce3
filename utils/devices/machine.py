"""What a run was computed on, as its summary says it: processor, cores that it may use, memory, GPUs."""

import os
import platform
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """`{"processor", "cores", "memory_gib", "gpus"}`; names no host.

    `cores` are those that this process may use, fewer than the machine has under `taskset` or a job scheduler. Memory
    is None where the system does not say.

    >>> describe_machine()["cores"] >= 1
    True
    """
    return {
        "processor": processor_name(Path("/proc/cpuinfo")),
        "cores": usable_cores(),
        "memory_gib": memory_gib(),
        "gpus": accelerators(),
    }


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def accelerators() -> list[str]:
    """The names of the GPUs or TPU cores that the backend sees."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.local_devices() if device.platform != "cpu"]
    import tensorflow as tf

    found = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return [details.get("device_name", "GPU") for details in found]


def processor_name(cpuinfo: Path) -> str:
    """The name in a file like Linux's `/proc/cpuinfo`, else the architecture: `x86_64`."""
    return described(cpuinfo, "model name") or platform.machine()


def described(cpuinfo: Path, *names: str) -> str:
    """What such a file says of the first of its processors under one of these names; empty where it says nothing."""
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def lacks_instructions(precision: str | bool, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor would have to imitate an OPTIMIZATION.AMP: it then takes longer than in float32.

    Only processors of x86 on Linux are judged, from the flags in `cpuinfo`.

    >>> lacks_instructions(False)
    False
    """
    wanted = {True: ("avx512_fp16", "amx_fp16"), "bfloat16": ("avx512_bf16", "amx_bf16")}.get(precision, ())
    flags = described(cpuinfo, "flags").split() if wanted else []
    return bool(flags) and not set(wanted) & set(flags)


def memory_gib() -> float | None:
    """The memory of the machine, as POSIX tells it."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
