"""The phantom looks like a LiTS scan, the same seed gives the same files, and nothing is overwritten."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_preparation.make_phantom import main, make_phantom
from utils.base.errors import UserError

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    return make_phantom(folder, volumes_train=2, volumes_val=1, size=64, slices=16, seed=3)


def read(volume):
    """Voxels and labels in RAS order."""
    files = volume, volume.with_name(volume.name.replace("volume", "segmentation"))
    scan, labels = (nib.as_closest_canonical(nib.load(file)) for file in files)
    return np.asarray(scan.dataobj), np.asarray(labels.dataobj)


def test_files_are_laid_out_like_lits(volumes):
    assert [f"{path.parent.name}/{path.name}" for path in volumes] == [
        "Training Batch 2/volume-28.nii",
        "Training Batch 2/volume-29.nii",
        "Training Batch 1/volume-0.nii",
    ]
    scan = nib.load(volumes[0])
    assert scan.get_data_dtype() == np.int16
    np.testing.assert_allclose(scan.header.get_zooms(), (410 / 64, 410 / 64, 10), rtol=1e-5)


def test_orientations_alternate(volumes):
    codes = ["".join(nib.aff2axcodes(nib.load(path).affine)) for path in volumes]
    assert codes == ["RAS", "LPS", "RAS"]


def test_densities_and_places(volumes):
    for volume in volumes:
        scan, labels = read(volume)
        assert set(np.unique(labels)) == {0, 1, 2}
        assert 95 < scan[labels == 1].mean() < 120
        assert scan[labels == 2].mean() < scan[labels == 1].mean() - 15
        assert abs(scan[:4, :4].mean() + 1000) < 5
        right, _, _ = np.nonzero(labels)
        assert right.mean() > 32  # the liver is on the patient's right
        spine = np.argwhere(scan[:, :, 8] > 300)
        assert spine[:, 1].mean() < 32  # and the spine at the back


def test_brightness_alone_does_not_find_the_liver(volumes):
    scan, labels = read(volumes[0])
    bright = (scan > 80) & (scan < 140) & (labels == 0)
    assert bright[:32].sum() > 0.05 * (labels > 0).sum()  # the spleen, on the other side


def test_the_ends_hold_no_liver_and_shapes_vary(volumes):
    _, labels = read(volumes[0])
    areas = (labels > 0).sum(axis=(0, 1))
    assert areas[0] == areas[1] == areas[-1] == areas[-2] == 0
    assert len(set(areas.tolist())) > 6
    assert not np.array_equal(labels, read(volumes[1])[1])


def test_the_seed_decides(volumes, tmp_path):
    same = make_phantom(tmp_path / "a", 1, 0, size=64, slices=16, seed=3)[0]
    other = make_phantom(tmp_path / "b", 1, 0, size=64, slices=16, seed=4)[0]
    assert same.read_bytes() == volumes[0].read_bytes()
    assert other.read_bytes() != volumes[0].read_bytes()


def test_nothing_is_overwritten_unless_asked(tmp_path):
    volume = make_phantom(tmp_path, 1, 0, size=32, slices=8)[0]
    before = volume.read_bytes()
    with pytest.raises(UserError, match=r"volume-28\.nii already exists.*--overwrite"):
        make_phantom(tmp_path, 1, 0, size=32, slices=8, seed=9)
    assert volume.read_bytes() == before
    make_phantom(tmp_path, 1, 0, size=32, slices=8, seed=9, overwrite=True)
    assert volume.read_bytes() != before


def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    command = ["make_phantom.py", str(tmp_path), "--volumes-train", "1", "--volumes-val", "0", "--slices", "4"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert "slices >= 8, got size=96, slices=4" in capsys.readouterr().err


def test_the_command_runs_from_anywhere(tmp_path):
    script = PROJECT / "data_preparation" / "make_phantom.py"
    arguments = ["out", "--volumes-train", "1", "--volumes-val", "1", "--size", "32", "--slices", "8"]
    subprocess.run([sys.executable, str(script), *arguments], cwd=tmp_path, check=True, capture_output=True)
    assert len(list((tmp_path / "out").glob("*/*.nii"))) == 4
