"""Which GPUs USE_MULTI_GPUS.GPU_IDS asks for."""

from collections.abc import Sequence

from utils.base.errors import UserError


def choose_gpus(gpu_ids: int | Sequence[int], available: int) -> list[int]:
    """Ids of the GPUs that USE_MULTI_GPUS.GPU_IDS asks for: -1 all, n the first n, a list exactly those.

    Raises:
        UserError: a GPU that this machine does not have, or one named twice.

    Example:
        >>> choose_gpus(2, available=4)
        [0, 1]
        >>> choose_gpus([1, 3], available=4)
        [1, 3]
    """
    if not available:
        raise UserError(
            f"USE_MULTI_GPUS asks for GPUs (GPU_IDS={gpu_ids}), but this process sees no GPU here. Set "
            "USE_MULTI_GPUS.VALUE=False."
        )
    if gpu_ids == -1:
        return list(range(available))
    chosen = list(range(gpu_ids)) if isinstance(gpu_ids, int) else list(gpu_ids)
    missing = [number for number in chosen if not 0 <= number < available]
    if missing or not chosen:
        raise UserError(
            f"USE_MULTI_GPUS.GPU_IDS={gpu_ids} asks for GPUs {missing or 'none'}; this machine has ids "
            f"0 to {available - 1}. Use -1 for all."
        )
    if len(set(chosen)) < len(chosen):
        raise UserError(f"USE_MULTI_GPUS.GPU_IDS={gpu_ids} names a GPU twice.")
    return chosen
