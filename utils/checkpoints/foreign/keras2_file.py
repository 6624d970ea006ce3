"""Files of weights that Keras 2 wrote, HDF5: a group for each layer. The model beside them is not looked at."""

from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.checkpoints.weights import UNREADABLE, check_weights_file

WHOLE_MODEL = "model_weights"  # the group in the file of a whole model; others hold the optimizer


def read_keras2(path: Path) -> dict[str, np.ndarray]:
    """`{layer/kind of array: array}` of a file, such as `block1_conv1/kernel`.

    Raises:
        UserError: it is no HDF5 file, is damaged, or claims arrays that it does not hold.
    """
    import h5py

    arrays: dict[str, np.ndarray] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            layer, _, rest = name.partition("/")
            arrays[f"{layer}/{rest.rpartition('/')[2].removesuffix(':0')}"] = item[()]

    try:
        check_weights_file(path)
        with h5py.File(path, "r") as file:
            file.get(WHOLE_MODEL, file).visititems(keep)
    except UserError:
        raise
    except (*UNREADABLE, AttributeError) as error:
        raise UserError(f"The weights {path} are no HDF5 file, or are damaged ({type(error).__name__}).") from None
    return arrays
