"""Scans of several sequences become images with a band for each; prediction reads them alike."""

import json

import nibabel as nib
import numpy as np
import pytest
from scan_helpers import AFFINE, SHAPE, labels, make_decathlon, nifti, scan

from data_generators.files.preparation import read_preparation
from data_generators.reading.decoding import read_image
from data_preparation import volumes
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.find_sources import find_sources
from utils.inference.sources import SourceSettings

BRATS = ["--volumes", "*/*_{}.nii.gz", "--segmentations", "*/*_seg.nii.gz"]


def upright(voxels):
    """`(rows, columns, slices)`: front on top, the patient's right on the left."""
    return voxels.transpose(1, 0, 2)[::-1, ::-1]


def run(*arguments):
    volumes.main(["--workers", "1", "--quiet", *map(str, arguments)])


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        run(*arguments)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert end.value.code == 2
    return line


def make_brats(folder, names=("anna", "bert"), channels=("t1", "flair")):
    scans = {}
    for name in names:
        for channel in channels:
            scans[name, channel] = scan()
            nifti(folder / name / f"{name}_{channel}.nii.gz", scans[name, channel])
        nifti(folder / name / f"{name}_seg.nii.gz", labels())
    return scans


def windowed(voxels, low, high):
    return np.rint((np.clip(upright(voxels).astype(float), low, high) - low) / (high - low) * 255)


def test_a_file_for_each_sequence(tmp_path):
    scans = make_brats(tmp_path / "brats")
    run(tmp_path / "brats", tmp_path / "data", *BRATS, "--channels", "t1", "flair", "--val", 0.5)
    for name in ("anna", "bert"):
        (folder,) = {path.parent for path in (tmp_path / "data").rglob(f"image_{name}_{name}_0.tif")}
        for index in range(SHAPE[2]):
            image = read_image(folder / f"image_{name}_{name}_{index}.tif", 2)
            for band, channel in enumerate(("t1", "flair")):
                voxels = scans[name, channel]  # without a window: percentiles of each sequence
                expected = windowed(voxels, *np.percentile(voxels, (0.5, 99.5)))[:, :, index]
                np.testing.assert_allclose(image[:, :, band], expected, atol=1)
            assert (folder.parent / f"mask/mask_{name}_{name}_{index}.png").exists()
    prepared = read_preparation(tmp_path / "data/train")
    assert prepared.settings["DATA_PREPARATION.CHANNELS"] == ["t1", "flair"]
    manifest = json.loads(next((tmp_path / "data").rglob("volume-anna_anna.json")).read_text())
    assert manifest["settings"]["channels"] == ["t1", "flair"] and len(manifest["images"]) == SHAPE[2]


def test_a_fourth_axis_and_the_names_of_the_decathlon(tmp_path, capsys):
    make_decathlon(tmp_path / "task", modality="FLAIR", count=2, four_axes=True)
    run(tmp_path / "task", tmp_path / "data", "--channels", "--val", 0.5, "--window", -200, 250)
    image = read_image(next((tmp_path / "data").rglob("image_liver_0_1.tif")), 2)
    voxels = nib.load(tmp_path / "task/imagesTr/liver_0.nii.gz").get_fdata()
    for band in range(2):
        np.testing.assert_allclose(image[..., band], windowed(voxels[..., band], -200, 250)[:, :, 1], atol=1)
    line = refused(capsys, tmp_path / "task", tmp_path / "more", "--channels", "a", "b", "c")
    assert "has 2 images, but 3 channels are named: a, b, c" in line
    assert "--channels of volumes.py" in refused(capsys, tmp_path / "task", tmp_path / "more")


def test_what_does_not_fit_is_one_line(tmp_path, capsys):
    source = tmp_path / "brats"
    make_brats(source)
    (source / "anna/anna_flair.nii.gz").unlink()
    assert "anna_t1.nii.gz has no partner that matches */*_flair.nii.gz" in refused(
        capsys, source, tmp_path / "data", *BRATS, "--channels", "t1", "flair"
    )
    assert "{} stands for each name" in refused(capsys, source, tmp_path / "data", *BRATS)
    assert "nothing matches" in refused(capsys, source, tmp_path / "data", *BRATS, "--channels", "t1", "t9")


def coarse(path, voxels):
    """Every second slice alone: voxels twice as long."""
    nib.save(nib.Nifti1Image(voxels[:, :, ::2], AFFINE @ np.diag([1, 1, 2, 1])), path)


def test_sequences_on_another_grid_are_resampled_on_request(tmp_path, capsys):
    source = tmp_path / "brats"
    make_brats(source, names=("anna", "bert"))
    ramp = np.broadcast_to(np.arange(SHAPE[2]) * 100, SHAPE).astype(np.int16)
    for name in ("anna", "bert"):
        coarse(source / name / f"{name}_flair.nii.gz", ramp)
    command = [source, tmp_path / "data", *BRATS, "--channels", "t1", "flair", "--window", 0, 255, "--val", 0.5]
    line = refused(capsys, *command)
    assert "flair.nii.gz: is not on the grid of" in line and "--resample-channels" in line
    run(*command, "--resample-channels")
    image = read_image(next((tmp_path / "data").rglob("image_anna_anna_1.tif")), 2)
    assert (image[..., 1] == 100).all()  # between the slices of 0 and 200
    far = nib.Nifti1Image(ramp, AFFINE + np.array([[0, 0, 0, 500]] * 3 + [[0] * 4]))
    nib.save(far, source / "anna/anna_flair.nii.gz")
    assert "leaves 100% of the space" in refused(
        capsys, *command[:1], tmp_path / "new", *command[2:], "--resample-channels"
    )


def test_prediction_slices_them_as_the_preparation(tmp_path):
    make_brats(tmp_path / "brats")
    run(tmp_path / "brats", tmp_path / "data", *BRATS, "--channels", "t1", "flair", "--val", 0.5)
    prepared = ["DATA_PREPARATION.CHANNELS=[t1,flair]", "DATA_PREPARATION.SCAN_MIN_VALUE=null"]
    prepared += [f"DATA_PREPARATION.{key}=null" for key in ("SCAN_MAX_VALUE", "RESIZED_HEIGHT", "RESIZED_WIDTH")]

    def sources(*overrides):
        cfg = load_config([*prepared, f"PREDICT.INPUT='{tmp_path}/brats/*/*.nii.gz'", *overrides])
        found = find_sources(cfg)
        for source in found:
            source.open(SourceSettings.from_config(cfg))
        return found

    found = sources("INPUT.CHANNELS=2")
    assert [source.name for source in found] == ["anna", "bert"]
    wide = sources("INPUT.CHANNELS=3", "DATASET.SLICES_AROUND=1", "DATASET.BANDS=[2]")
    for source, around in zip(found, wide, strict=True):
        (folder,) = {path.parent for path in (tmp_path / "data").rglob(f"image_{source.name}_{source.name}_0.tif")}
        stored = [read_image(folder / f"image_{source.name}_{source.name}_{index}.tif", 2) for index in range(SHAPE[2])]
        np.testing.assert_array_equal(source.read(1)[0], stored[1])
        np.testing.assert_array_equal(around.read(0)[0], np.dstack([stored[at][..., 1] for at in (0, 0, 1)]))
    with pytest.raises(UserError, match=r"becomes 2 channels, not INPUT.CHANNELS=3"):
        sources("INPUT.CHANNELS=3")
    (tmp_path / "brats/anna/anna_flair.nii.gz").unlink()
    with pytest.raises(UserError, match=r"anna_t1.nii.gz: has no partner in flair"):
        sources("INPUT.CHANNELS=2")
