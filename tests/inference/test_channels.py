"""Prediction of images whose channels are several files, or neighbouring slices, by the config beside the weights."""

import cv2
import nibabel as nib
import numpy as np
import pytest
from helpers import TINY, make_weights

from predict import predict
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.available import available_weights
from utils.inference.find_sources import find_sources, make_source
from utils.inference.image_sources import ImageSource
from utils.inference.sources import SourceSettings

AROUND = ["DATASET.SLICES_AROUND=1", "DATASET.BANDS=[2]"]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((48, 48), value, np.uint8))


def test_new_files_need_only_their_folder(tmp_path):
    make_weights(tmp_path, [*TINY, "DATASET.CHANNELS=[t1,t2]", "INPUT.CHANNELS=2", "VERBOSE=0"])
    for case in ("x", "y"):
        for number, channel in enumerate(("t1", "t2")):
            write(tmp_path / f"new/{case}_{channel}.png", 50 * number)
    settings = [f"WORK_DIR={tmp_path}", TINY[0], "VERBOSE=0"]
    output = predict(load_config([*settings, f"PREDICT.INPUT={tmp_path}/new"]))
    assert sorted(path.name for path in (output / "masks").iterdir()) == ["x.png", "y.png"]
    (tmp_path / "new/y_t2.png").unlink()
    with pytest.raises(UserError, match=r"y_t1.png: has no partner in t2"):
        predict(load_config([*settings, f"PREDICT.INPUT={tmp_path}/new"]))
    names, problems = available_weights(load_config(settings))
    assert not names and "it takes 2 files an image" in next(iter(problems.values()))


def sources_of(folder, *overrides):
    cfg = load_config([f"WORK_DIR={folder}", f"PREDICT.INPUT={folder}/new", "INPUT.CHANNELS=3", *overrides])
    sources = find_sources(cfg)
    for source in sources:
        source.open(SourceSettings.from_config(cfg))
    return sources


def test_slices_take_their_neighbours_from_the_folder(tmp_path):
    for number in range(3):
        write(tmp_path / f"new/scan_{number}.png", 10 * number)
    first, second, _ = sources_of(tmp_path, AROUND[0])
    assert (first.name, first.read(0)[0][0, 0].tolist()) == ("scan_0", [0, 0, 10])
    assert second.read(0)[0][0, 0].tolist() == [0, 10, 20]
    (tmp_path / "new/scan_1.png").unlink()
    with pytest.raises(UserError, match="slice 1 of volume scan is missing"):
        sources_of(tmp_path, AROUND[0])


def test_one_slice_alone_has_no_neighbours(tmp_path):
    write(tmp_path / "a_1.png", 0)
    source = make_source(tmp_path / "a_1.png")
    assert isinstance(source, ImageSource)
    with pytest.raises(UserError, match="takes slices with 1 neighbours on either side"):
        source.open(SourceSettings.from_config(load_config([AROUND[0]])))


def test_a_volume_is_sliced_as_its_prepared_slices_are_read(tmp_path):
    """The second band of prepared slices is the slice itself: with BANDS=[2] a scan gives its slices alone."""
    (tmp_path / "new").mkdir()
    voxels = np.random.default_rng(0).integers(-200, 250, (20, 20, 4)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1, -1, 2, 1])), tmp_path / "new/scan.nii.gz")
    size = ["DATA_PREPARATION.RESIZED_HEIGHT=null", "DATA_PREPARATION.RESIZED_WIDTH=null"]
    (plain,) = sources_of(tmp_path, *size)  # its own three channels: below, slice, above
    wide = ["DATASET.SLICES_AROUND=2", AROUND[1], "INPUT.CHANNELS=5"]
    (source,) = sources_of(tmp_path, *size, *wide)
    slices = [plain.read(index)[0][..., 1] for index in range(4)]
    np.testing.assert_array_equal(source.read(0)[0], np.stack([slices[at] for at in (0, 0, 0, 1, 2)], axis=-1))
    np.testing.assert_array_equal(source.read(2)[0], np.stack([slices[at] for at in (0, 1, 2, 3, 3)], axis=-1))
    with pytest.raises(UserError, match=r"INPUT.CHANNELS=10"):
        sources_of(tmp_path, *size, "DATASET.SLICES_AROUND=2", "INPUT.CHANNELS=10")
