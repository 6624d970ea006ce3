"""Files of weights as other programs write them, made without these programs."""

import json
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
from drawn_helpers import drawn, drawn_of_keras

SAFETENSORS = {"float32": "F32", "float16": "F16", "int64": "I64"}
STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def write_safetensors(path, arrays, dtypes=SAFETENSORS):
    header, position = {}, 0
    for name, array in arrays.items():
        end = position + array.nbytes
        header[name] = {
            "dtype": dtypes[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [position, end],
        }
        position = end
    write_parts(path, json.dumps(header).encode(), [array.tobytes() for array in arrays.values()])


def write_parts(path, header, parts):
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.writelines(parts)


def write_torch(path, arrays, program=None, compression=zipfile.ZIP_STORED, folder="archive"):
    """As `torch.save` writes a state dict; `program` in place of its pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", state_dict(arrays) if program is None else program)
        archive.writestr(f"{folder}/byteorder", "little")
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"{folder}/data/{key}", array.tobytes())


def write_legacy(path, arrays, keys=None, machine=True):
    """As `torch.save` wrote a state dict before torch 1.6."""
    facts = {"protocol_version": 1001, "little_endian": machine}
    order = list(map(str, range(len(arrays)))) if keys is None else keys
    with open(path, "wb") as file:
        for number in (0x1950A86A20F9469CFC6C, 1001, facts):
            pickle.dump(number, file, 2)
        file.write(state_dict(arrays, view=b"N"))
        pickle.dump(order, file, 2)
        for array in arrays.values():
            file.write(array.size.to_bytes(8, "little") + array.tobytes())


def state_dict(arrays, view=b""):
    """The pickle of an OrderedDict of tensors, opcode by opcode."""
    tensors = (text(name) + tensor(str(key), array, view=view) for key, (name, array) in enumerate(arrays.items()))
    return b"\x80\x02" + ORDERED_DICT + b"(" + b"".join(tensors) + b"u."


ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def tensor(key, array, count=None, shape=None, strides=None, storage=None, view=b""):
    strides = [size // array.itemsize for size in array.strides] if strides is None else strides
    kind = f"ctorch\n{storage or STORAGES[array.dtype.name]}\n".encode()
    place = b"(" + text("storage") + kind + text(key) + text("cpu") + integer(count or array.size) + view + b"tQ"
    sides = integers(array.shape if shape is None else shape) + integers(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + place + integer(0) + sides + b"\x89" + ORDERED_DICT + b"tR"


def text(value):
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def integer(value):
    return b"J" + value.to_bytes(4, "little", signed=True)


def integers(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


def write_keras2(path, arrays, group=None):
    """As `save_weights` of Keras 2 writes them; with a group, as it writes a whole model."""
    with h5py.File(path, "w") as file:
        place = file if group is None else file.create_group(group)
        for name, array in arrays.items():
            place[name] = array
        if group is not None:
            file.attrs["model_config"] = "{}"
            file["optimizer_weights/Adam/m/conv2d/kernel:0"] = np.zeros(3, np.float32)


def arrays_like(layout):
    """Drawn arrays of `{name: shape}`, those of `references/make_foreign.py`."""
    draw = drawn_of_keras if any("/" in name for name in layout) else drawn
    return {name: np.ascontiguousarray(draw(name, tuple(shape))) for name, shape in layout.items()}


FILES = [Path(__file__).parent / f"references/foreign_{program}.npz" for program in ("torch", "keras")]


def kept(key):
    """What the scripts in references/ kept of the originals."""
    for path in FILES:
        with np.load(path) as file:
            if key in file:
                return file[key]
    raise KeyError(key)


def drawn_layout(name):
    """Drawn arrays of a network of the originals."""
    return arrays_like(json.loads(bytes(kept(f"{name}/layout"))))
