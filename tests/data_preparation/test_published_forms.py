"""Datasets in the form in which they are published, by the lines of docs/how-to/public-datasets.md."""

import cv2
import numpy as np
import pytest
import tifffile
from annotation_form_helpers import write_json
from public_format_helpers import RNG, colour, refuse, run, save
from scan_helpers import nifti

from data_generators.reading.masks import read_mask
from data_preparation import annotations, index_masks, volumes

DISC = cv2.circle(np.zeros((24, 30), np.uint8), (12, 10), 7, 255, -1)


def masks_of(output, split="train"):
    return {path.name: read_mask(path) for path in sorted((output / split / "mask").iterdir())}


def test_isic(tmp_path, capsys):
    for number in range(3):
        save(tmp_path / f"input/ISIC_{number:07d}.jpg", colour(24, 30))
        save(tmp_path / f"truth/ISIC_{number:07d}_segmentation.png", DISC)
    (tmp_path / "input/LICENSE.txt").write_text("CC")
    folders = [tmp_path / "input", tmp_path / "truth", tmp_path / "data"]
    run(index_masks, capsys, *folders, "--mask-suffix", "_segmentation", "--values", 0, 255)
    for mask in masks_of(tmp_path / "data").values():
        np.testing.assert_array_equal(mask, DISC > 0)


def test_kvasir_whose_masks_are_jpeg(tmp_path, capsys):
    for name in "ab":
        save(tmp_path / f"images/{name}.jpg", colour(24, 30))
        save(tmp_path / f"masks/{name}.jpg", cv2.merge([DISC] * 3))
    folders = [tmp_path / "images", tmp_path / "masks", tmp_path / "data"]
    assert "--threshold" in refuse(index_masks, capsys, tmp_path / "data", *folders, "--values", 0, 255)
    run(index_masks, capsys, *folders, "--threshold", 128, "--val", 0)
    for mask in masks_of(tmp_path / "data").values():
        np.testing.assert_array_equal(mask, DISC > 0)


def test_chase_whose_eyes_stay_together(tmp_path, capsys):
    for eye in ("01L", "01R", "02L", "02R"):
        save(tmp_path / f"CHASEDB1/Image_{eye}.jpg", colour(24, 30))
        save(tmp_path / f"CHASEDB1/Image_{eye}_1stHO.png", DISC)
        save(tmp_path / f"CHASEDB1/Image_{eye}_2ndHO.png", 0 * DISC)
    patterns = [tmp_path / "CHASEDB1/*.jpg", tmp_path / "CHASEDB1/*_1stHO.png", tmp_path / "data"]
    run(index_masks, capsys, *patterns, "--values", 0, 255, "--group", r"(\d+)")
    splits = [{name[6:8] for name in masks_of(tmp_path / "data", split)} for split in ("train", "val")]
    assert sorted(splits, key=str) == [{"01"}, {"02"}]
    np.testing.assert_array_equal(next(iter(masks_of(tmp_path / "data").values())), DISC > 0)


def test_stare(tmp_path, capsys):
    for number in range(2):
        save(tmp_path / f"stare-images/im{number:04d}.ppm", colour(24, 30))
        save(tmp_path / f"labels-ah/im{number:04d}.ah.ppm", cv2.merge([DISC] * 3))
    patterns = [tmp_path / "stare-images/*.ppm", tmp_path / "labels-ah/*.ah.ppm", tmp_path / "data"]
    run(index_masks, capsys, *patterns, "--values", 0, 255, "--val", 0)
    found = masks_of(tmp_path / "data")
    assert len(found) == 2
    np.testing.assert_array_equal(found["im0000.png"], DISC > 0)


def test_hrf_whose_masks_are_tiff(tmp_path, capsys):
    for name in ("01_dr", "01_h"):
        save(tmp_path / f"images/{name}.jpg", colour(24, 30))
        save(tmp_path / f"manual1/{name}.tif", DISC)
        save(tmp_path / f"mask/{name}_mask.tif", cv2.merge([np.full_like(DISC, 255)] * 3))
    folders = [tmp_path / "images", tmp_path / "manual1", tmp_path / "data"]
    run(index_masks, capsys, *folders, "--values", 0, 255, "--val", 0)
    found = masks_of(tmp_path / "data")
    assert list(found) == ["01_dr.png", "01_h.png"]
    np.testing.assert_array_equal(found["01_h.png"], DISC > 0)


def test_spacenet_whose_files_have_other_names(tmp_path, capsys):
    """A GeoTIFF and a GeoJSON in degrees for each tile, without names of classes; a tile without buildings has none."""
    left, top, step = -115.3, 36.2, 2.7e-6
    system = [(34735, 3, 12, (1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326), True)]
    corners = [(4, 5), (14, 5), (14, 9), (4, 9), (4, 5)]
    ring = [[left + column * step, top - row * step, 0.0] for column, row in corners]
    for number, rings in ((1, [ring]), (2, [])):
        path = tmp_path / f"RGB-PanSharpen/RGB-PanSharpen_AOI_2_Vegas_img{number}.tif"
        path.parent.mkdir(exist_ok=True)
        place = (0.0, 0.0, 0.0, left + (number - 1) * 30 * step, top, 0.0)
        tags = [(33550, 12, 3, (step, step, 0.0), True), (33922, 12, 6, place, True), *system]
        values = RNG.integers(0, 2048, (24, 30, 3), np.uint16)
        tifffile.imwrite(path, values, photometric="rgb", extratags=tags)
        content = {"type": "FeatureCollection", "features": [
            {"type": "Feature", "properties": {"OBJECTID": 0}, "geometry": {"type": "Polygon", "coordinates": [each]}}
            for each in rings
        ]}  # fmt: skip
        content["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
        write_json(tmp_path / f"geojson/buildings/buildings_AOI_2_Vegas_img{number}.geojson", content)
    arguments = [tmp_path / "geojson/buildings", tmp_path / "data", "--images", tmp_path / "RGB-PanSharpen"]
    run(annotations, capsys, *arguments, "--val", 0, "--objects", "--unlisted", "empty")
    expected = np.zeros((24, 30))
    expected[5:9, 4:14] = 1
    found = masks_of(tmp_path / "data")
    np.testing.assert_array_equal(found["RGB-PanSharpen_AOI_2_Vegas_img1.png"], expected)
    assert not found["RGB-PanSharpen_AOI_2_Vegas_img2.png"].any()


def test_inria_by_cities(tmp_path, capsys):
    for name in ("austin1", "austin2", "tyrol-w1"):
        save(tmp_path / f"images/{name}.tif", colour(24, 30))
        save(tmp_path / f"gt/{name}.tif", DISC)
    folders = [tmp_path / "images", tmp_path / "gt", tmp_path / "data"]
    run(index_masks, capsys, *folders, "--values", 0, 255, "--group", "^([a-z-]+)")
    splits = [sorted(masks_of(tmp_path / "data", split)) for split in ("train", "val")]
    assert sorted(splits) == [["austin1.png", "austin2.png"], ["tyrol-w1.png"]]


def test_isbi_2012_stacks(tmp_path, capsys):
    labels = np.stack([np.roll(DISC, shift, 1) for shift in range(4)])
    tifffile.imwrite(
        tmp_path / "train-volume.tif", RNG.integers(0, 256, labels.shape, np.uint8), photometric="minisblack"
    )
    tifffile.imwrite(tmp_path / "train-labels.tif", labels, photometric="minisblack")
    files = [tmp_path / "train-volume.tif", tmp_path / "train-labels.tif", tmp_path / "data"]
    run(index_masks, capsys, *files, "--values", 0, 255, "--val", 0)
    np.testing.assert_array_equal(list(masks_of(tmp_path / "data").values()), labels > 0)


def test_cell_tracking_challenge_whose_masks_are_of_some_frames(tmp_path, capsys):
    cells = np.zeros((24, 30), np.uint16)
    cells[2:9, 2:9], cells[9:15, 2:9] = 1, 300
    for sequence in ("01", "02"):
        (tmp_path / f"{sequence}_GT/SEG").mkdir(parents=True)
        for frame in range(3):
            save(tmp_path / f"{sequence}/t{frame:03d}.tif", colour(24, 30)[..., 0])
        tifffile.imwrite(tmp_path / f"{sequence}_GT/SEG/man_seg001.tif", cells)
    patterns = [tmp_path / "*/t*.tif", tmp_path / "*_GT/SEG/man_seg*.tif", tmp_path / "data", "--threshold", 1]
    assert "--labelled-only" in refuse(index_masks, capsys, tmp_path / "data", *patterns)
    report = run(index_masks, capsys, *patterns, "--labelled-only", "--val", 0)
    assert "t000.tif: has no mask" in report and "4 skipped" in report
    np.testing.assert_array_equal(list(masks_of(tmp_path / "data").values()), [cells > 0] * 2)


def test_brats_and_its_sequences(tmp_path, capsys):
    truth = np.zeros((6, 8, 2))
    truth[1:4, 1:4], truth[2, 2] = 2, 4
    for patient in ("BraTS2021_00000", "BraTS2021_00002"):
        for sequence in ("t1", "flair"):
            nifti(tmp_path / f"brats/{patient}/{patient}_{sequence}.nii.gz", RNG.integers(0, 99, truth.shape, np.int16))
        nifti(tmp_path / f"brats/{patient}/{patient}_seg.nii.gz", truth)
    patterns = ["--volumes", "*/*_{}.nii.gz", "--segmentations", "*/*_seg.nii.gz"]
    run(volumes, capsys, tmp_path / "brats", tmp_path / "data", "--channels", "t1", "flair", *patterns, "--val", 0)
    assert {tuple(np.unique(mask)) for mask in masks_of(tmp_path / "data").values()} == {(0, 2, 4)}
    image = tifffile.imread(next((tmp_path / "data/train/images").iterdir()))
    assert sorted(image.shape)[0] == 2


def test_acdc_whose_frames_stay_together(tmp_path, capsys):
    truth = np.zeros((6, 8, 2))
    truth[1:4, 1:4] = 3
    for patient in ("patient001", "patient002"):
        for frame in ("01", "12"):
            nifti(tmp_path / f"{patient}/{patient}_frame{frame}.nii.gz", RNG.integers(0, 99, truth.shape, np.int16))
            nifti(tmp_path / f"{patient}/{patient}_frame{frame}_gt.nii.gz", truth)
        nifti(tmp_path / f"{patient}/{patient}_4d.nii.gz", RNG.integers(0, 99, (*truth.shape, 3), np.int16))
    patterns = ["--volumes", "*/*_frame*.nii.gz", "--segmentations", "*/*_frame*_gt.nii.gz"]
    run(volumes, capsys, tmp_path, tmp_path / "data", *patterns, "--group", r"patient(\d+)")
    for split in ("train", "val"):
        found = masks_of(tmp_path / "data", split)
        assert len(found) == 4 and len({name.split("patient")[1][:3] for name in found}) == 1


def test_mm_whs_whose_labels_are_large(tmp_path, capsys):
    truth = np.zeros((6, 8, 2))
    truth[1:4, 1:4], truth[4, 4] = 500, 205
    for number in (1001, 1002):
        nifti(tmp_path / f"ct_train_{number}_image.nii.gz", RNG.integers(0, 99, truth.shape, np.int16))
        nifti(tmp_path / f"ct_train_{number}_label.nii.gz", truth)
    arguments = [tmp_path, tmp_path / "data", "--volumes", "*_image.nii.gz", "--segmentations", "*_label.nii.gz"]
    assert "500" in refuse(volumes, capsys, tmp_path / "data", *arguments)
    assert "205, which are not in --values" in refuse(
        volumes, capsys, tmp_path / "data", *arguments, "--values", 0, 500
    )
    run(volumes, capsys, *arguments, "--values", 0, 205, 420, 500, "--val", 0)
    for mask in masks_of(tmp_path / "data").values():
        assert np.bincount(mask.ravel(), minlength=4).tolist() == [38, 1, 0, 9]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--threshold", "0"], "1 to 65535"),
        (["--threshold", "128", "--values", "0", "255"], "exclude each other"),
        (["--threshold", "128", "--ignore", "255"], "without --ignore"),
    ],
)
def test_a_threshold_stands_alone(options, words, tmp_path, capsys):
    save(tmp_path / "i/a.png", colour())
    save(tmp_path / "m/a.png", colour()[..., 0])
    assert words in refuse(
        index_masks, capsys, tmp_path / "d", tmp_path / "i", tmp_path / "m", tmp_path / "d", *options
    )


def test_a_pattern_without_a_match_is_refused(tmp_path, capsys):
    save(tmp_path / "i/a.png", colour())
    sources = [tmp_path / "i/*.png", tmp_path / "m/*.png", tmp_path / "d"]
    assert "nothing matches" in refuse(index_masks, capsys, tmp_path / "d", *sources)
