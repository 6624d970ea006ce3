"""Files of weights from strangers: read whole, or refused in one line, and nothing of theirs runs."""

import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest
from foreign_helpers import (
    integer,
    state_dict,
    tensor,
    text,
    write_keras2,
    write_legacy,
    write_parts,
    write_safetensors,
    write_torch,
)

from utils.base.errors import UserError
from utils.checkpoints.foreign.convert import read_foreign
from utils.checkpoints.foreign.keras2_file import read_keras2
from utils.checkpoints.foreign.safetensors import read_safetensors
from utils.checkpoints.foreign.torch_file import read_torch

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.half": np.array([1.5, -2], np.float16),
    "a.num_batches_tracked": np.array(7, np.int64),
}


def assert_equal(found, expected=ARRAYS):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_safetensors_are_read(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", ARRAYS)
    assert_equal(read_safetensors(tmp_path / "a.safetensors"))


def test_state_dicts_are_read(tmp_path):
    write_torch(tmp_path / "a.pt", ARRAYS)
    assert_equal(read_torch(tmp_path / "a.pt"))


def test_state_dicts_of_the_first_form_are_read(tmp_path):
    write_legacy(tmp_path / "a.pt", ARRAYS)
    assert_equal(read_torch(tmp_path / "a.pt"))


def test_damaged_state_dicts_of_the_first_form_are_one_line(tmp_path):
    path = tmp_path / "a.pt"
    write_legacy(path, ARRAYS)
    whole, claim = path.read_bytes(), integer(6) + b"NtQ"
    assert whole.count(claim) == 1
    evil = pickle.dumps({"a": Evil()}, 2)
    contents = [whole[:length] for length in range(20, len(whole), 7)]
    contents += [whole.replace(claim, integer(size) + b"NtQ") for size in (5, 7, 1 << 30, -1)]
    contents += [whole[:15] + evil, whole[: whole.index(b"ccollections") - 2] + evil]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.pt are refused: it "):
            read_torch(path)
    for options in ({"keys": ["0", "1"]}, {"keys": ["0", "1", "1"]}, {"keys": 3}, {"machine": False}):
        write_legacy(path, ARRAYS, **options)
        with pytest.raises(UserError, match=r"a\.pt are refused: it "):
            read_torch(path)
    assert not os.path.exists(EVIDENCE)


def test_a_checkpoint_of_a_training_holds_a_state_dict(tmp_path):
    inner = state_dict(ARRAYS)[2:-1]
    program = b"\x80\x02}(" + text("epoch") + integer(3) + text("model_state_dict") + inner
    program += text("optimizer") + b"}" + text("param_groups") + b"]su."
    write_torch(tmp_path / "a.pth", ARRAYS, program)
    assert_equal(read_torch(tmp_path / "a.pth"))


def test_strides_and_shared_bytes_are_followed(tmp_path):
    values = ARRAYS["a.weight"]
    turned = text("turned") + tensor("0", values, shape=(3, 2), strides=(1, 3))
    write_torch(tmp_path / "a.pt", ARRAYS, state_dict(ARRAYS)[:-2] + turned + b"u.")
    np.testing.assert_array_equal(read_torch(tmp_path / "a.pt")["turned"], values.T)


def test_bfloat16_becomes_float32(tmp_path):
    halves = {"a": np.array([0x3FC0, 0xC000], np.uint16)}
    write_safetensors(tmp_path / "a.safetensors", halves, {"uint16": "BF16"})
    program = b"\x80\x02}(" + text("a") + tensor("0", halves["a"], storage="BFloat16Storage") + b"u."
    write_torch(tmp_path / "a.pt", halves, program)
    for found in (read_safetensors(tmp_path / "a.safetensors"), read_torch(tmp_path / "a.pt")):
        assert found["a"].dtype == np.float32 and found["a"].tolist() == [1.5, -2.0]


class Evil:
    def __reduce__(self):
        return os.system, (f"touch {EVIDENCE}",)


EVIDENCE = "/tmp/a_pickle_has_run"


@pytest.mark.parametrize(
    "program",
    [
        pickle.dumps({"a": Evil()}, 2),
        pickle.dumps({"a": Evil()}, 5),
        pickle.dumps({"a": np.zeros(3)}, 4),
        b"\x80\x02cbuiltins\neval\n(" + text("open('/tmp/a_pickle_has_run', 'w')") + b"tR.",
        b"\x80\x04" + text("builtins") + text("getattr") + b"\x93.",
        b"\x80\x02ctorch.nn\nModule\n.",
        b"\x80\x02ctorch._utils\n__builtins__\n.",
    ],
)
def test_whatever_is_no_array_is_refused_and_does_not_run(program, tmp_path):
    write_torch(tmp_path / "a.pt", ARRAYS, program)
    with pytest.raises(UserError, match=r"a\.pt are refused: it asks for [\w.]+, and only arrays") as refused:
        read_torch(tmp_path / "a.pt")
    assert "\n" not in str(refused.value) and not os.path.exists(EVIDENCE)


WEIGHT = ARRAYS["a.weight"]


def in_dict(value):
    return b"\x80\x02}(" + text("a") + value + b"u."


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"not a pickle",
        state_dict(ARRAYS)[:60],
        in_dict(tensor("0", WEIGHT, count=7)),
        in_dict(tensor("9", WEIGHT)),
        in_dict(tensor("../data.pkl", WEIGHT)),
        in_dict(tensor("0", WEIGHT, shape=(2, 4))),
        in_dict(tensor("0", WEIGHT, shape=(1 << 30, 1 << 30), strides=(0, 0))),
        in_dict(tensor("0", WEIGHT, strides=(-3, 1))),
        in_dict(tensor("0", WEIGHT, strides=(3,))),
        in_dict(tensor("0", WEIGHT, storage="DoubleStorage")),
        in_dict(b"ctorch\nFloatStorage\n)R"),
        in_dict(integer(3)),
        in_dict(b"ctorch._utils\n_rebuild_tensor_v2\n}(" + text("a") + integer(3) + b"ub"),
        in_dict(b"ctorch._utils\n_rebuild_tensor_v2\nN}(" + text("__defaults__") + b")u\x86b"),
        in_dict(b"ctorch\nFloatStorage\n}(" + text("name") + text("DoubleStorage") + b"ub"),
        in_dict(b"ccollections\nOrderedDict\n}(" + text("pop") + integer(3) + b"ub"),
        b"\x80\x02" + b"]" * 100_000 + b".",
        b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".",
    ],
)
def test_a_damaged_state_dict_is_one_line(program, tmp_path):
    write_torch(tmp_path / "a.pt", ARRAYS, program)
    with pytest.raises(UserError, match=r"The weights \S+a\.pt are refused: it "):
        read_torch(tmp_path / "a.pt")


def test_only_stored_members_of_a_whole_archive_are_read(tmp_path):
    path = tmp_path / "a.pt"
    write_torch(path, ARRAYS, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="compressed"):
        read_torch(path)
    write_torch(path, ARRAYS)
    whole = path.read_bytes()
    for content in (whole[:-30], whole[: len(whole) // 2], b"\x80\x02}.", b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged, or torch"):
            read_torch(path)
    flipped = whole.replace(WEIGHT.tobytes(), WEIGHT[::-1].tobytes(), 1)
    path.write_bytes(flipped)
    with pytest.raises(UserError, match="damaged"):  # the checksum of the member
        read_torch(path)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"{ ", "not as the format has it"),
        (b"[]", "not as the format has it"),
        (b'{"a": 3}', "not as the format has it"),
        (b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', "not as the format has it"),
        (b'{"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}', "as F8_E4M3"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "other bytes"),
        (b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}', "other bytes"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [12, 4]}}', "other bytes"),
    ],
)
def test_a_damaged_safetensors_header_is_one_line(header, words, tmp_path):
    write_parts(tmp_path / "a.safetensors", header, [b"\0" * 16])
    with pytest.raises(UserError, match=words):
        read_safetensors(tmp_path / "a.safetensors")


@pytest.mark.parametrize("content", [b"", b"1234", (1 << 62).to_bytes(8, "little"), (100).to_bytes(8, "little")])
def test_no_safetensors_file_is_one_line(content, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="no safetensors file, or it is cut off"):
        read_safetensors(tmp_path / "a.safetensors")


def test_weights_of_unknown_networks_are_one_line(tmp_path):
    write_torch(tmp_path / "a.pt", ARRAYS)
    with pytest.raises(UserError, match=r"no network that is known here \(names like a\.weight, .*Pytorch-UNet"):
        read_foreign(tmp_path / "a.pt")


def test_a_damaged_file_of_keras_2_is_one_line(tmp_path):
    path = tmp_path / "a.h5"
    write_keras2(path, {"conv2d/conv2d/kernel:0": WEIGHT})
    whole = path.read_bytes()
    for content in (b"", b"no HDF5", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no HDF5 file, or are damaged"):
            read_keras2(path)
    write_keras2(path, {})
    with h5py.File(path, "r+") as file:
        file["conv2d"] = h5py.ExternalLink("/etc/passwd", "kernel:0")
    with pytest.raises(UserError, match="is a link to elsewhere"):
        read_keras2(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("conv2d/kernel:0", (1 << 20, 1 << 20), "f4", chunks=True, compression="gzip")
    with pytest.raises(UserError, match=r"claims 4,398,046,511,104 bytes"):
        read_keras2(path)
