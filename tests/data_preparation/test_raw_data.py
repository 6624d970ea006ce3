"""Raw data at the wrong command: one line, exit code 2, the command that takes it."""

import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import PROJECT
from PIL import Image

from data_preparation import annotations, index_masks, plan
from data_preparation.common.raw_data import TABLE, refuse_raw
from train import train
from utils.base.errors import UserError
from utils.config import load_config

DICOM = bytes(128) + b"DICM"
DECATHLON = b'{"modality": {"0": "MRI"}, "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}]}'
BRATS = [f"b_{n}/b_{n}_{kind}.nii.gz" for n in (1, 2) for kind in ("flair", "t1", "t1ce", "seg")]
SLICES = ["a/a_1.tif", "a/a_1_mask.tif"]
VOLUMES = "volumes.py . data --volumes"
FORMS = {
    "two folders": (
        ["im/a.nii.gz", "im/b.nii.gz", "lab/a.nii.gz", "lab/b.nii.gz"],
        "im",
        "lab",
        f"{VOLUMES} 'im/*.nii.gz' --segmentations 'lab/*.nii.gz'",
    ),
    "nnU-Net": (
        ["im/a_0000.nii.gz", "im/b_0000.nii.gz", "lab/a.nii.gz", "lab/b.nii.gz"],
        "im",
        "lab",
        f"{VOLUMES} 'im/*_0000.nii.gz' --segmentations 'lab/*.nii.gz'",
    ),
    "LiTS": (
        ["lits/volume-0.nii", "lits/segmentation-0.nii"],
        "lits",
        "lits",
        "volumes.py lits data --volumes 'volume-*.nii' --segmentations 'segmentation-*.nii' --window -200 250",
    ),
    "cases": (
        ["s/a/ct.nii", "s/a/liver_mask.nii", "s/b/ct.nii", "s/b/liver_mask.nii"],
        "s",
        "s",
        "volumes.py s data --volumes '*/ct.nii' --segmentations '*/liver_mask.nii'",
    ),
    "BraTS": (
        [f"brats/{name}" for name in BRATS],
        "brats",
        "brats",
        "volumes.py brats data --volumes 'b_*/b_*_{}.nii.gz' --segmentations 'b_*/b_*_seg.nii.gz' "
        "--channels flair t1 t1ce --depth 16",
    ),
    "one case of BraTS": (
        BRATS[:4],
        "b_1",
        "b_1",
        "volumes.py b_1 data --volumes 'b_*_{}.nii.gz' --segmentations 'b_*_seg.nii.gz' "
        "--channels flair t1 t1ce --depth 16",
    ),
    "files": (
        ["x/scan.nii.gz", "x/seg.nii.gz"],
        "x/scan.nii.gz",
        "x/seg.nii.gz",
        f"{VOLUMES} '*/scan.nii.gz' --segmentations '*/seg.nii.gz'",
    ),
    "names that do not pair": (
        ["x/one.nii.gz", "x/two.nii.gz", "y/a.nii.gz", "y/b.nii.gz"],
        "x",
        "y",
        "volumes.py x data --volumes '*/IMAGE.nii.gz' --segmentations '*/LABEL.nii.gz'",
    ),
    "Decathlon": (
        ["t/dataset.json", "t/imagesTr/a.nii.gz", "t/labelsTr/a.nii.gz"],
        "t/imagesTr",
        "t/labelsTr",
        "volumes.py t data --depth 16",
    ),
    "DICOM": (
        ["p/1/CT/1.dcm", "p/1/CT/2.dcm", "p/1/seg.dcm", "p/2/CT/1.dcm", "p/2/seg.dcm"],
        "p",
        "p",
        "volumes.py p data --volumes '*/CT' --segmentations '*/seg.dcm'",
    ),
    "DICOM without endings": (
        ["c/PATIENT/image_1", "c/PATIENT/image_2", "c/MASKS/liver/image_1"],
        "c/PATIENT",
        "c/MASKS/liver",
        f"{VOLUMES} '*/PATIENT' --segmentations '*/MASKS/liver'",
    ),
    "nuclei": (
        ["n/1a/images/1a.png", "n/1a/masks/7.png", "n/1a/masks/8.png"],
        "n",
        "n",
        "nuclei.py n data --border 1 --objects",
    ),
    "a nucleus": (
        ["n/1a/images/1a.png", "n/1a/masks/7.png", "n/1a/masks/8.png"],
        "n/1a/images",
        "n/1a/masks",
        "nuclei.py n data --border 1 --objects",
    ),
    "DRIVE": (
        ["d/images/21_training.tif", "d/1st_manual/21_manual1.gif", "d/mask/21_training_mask.gif"],
        "d/images",
        "d/1st_manual",
        "drive.py d data --val 0.25",
    ),
    "LGG": ([f"kaggle_3m/{name}" for name in SLICES], "kaggle_3m", "kaggle_3m", "lgg.py kaggle_3m data --val 0.1"),
    "labelme": (["l/a.jpg", "l/a.json"], "l", "l", "annotations.py l data"),
    "labelme elsewhere": (["i/a.jpg", "l/a.json"], "i", "l", "annotations.py l data --images i"),
    "COCO": (["i/a.jpg", "all.json"], "i", "all.json", "annotations.py all.json data --images i"),
    "YOLO": (["my images/a.jpg", "l/a.txt"], "my images", "l", "annotations.py l data --images 'my images'"),
    "runs": (["i/a.jpg", "train.csv"], "i", "train.csv", "rle_csv.py train.csv i data"),
    "stacks": (["v.tif", "l.tif"], "v.tif", "l.tif", "index_masks.py v.tif l.tif data"),
    "GIF": (
        ["i/a.tif", "i/b.tif", "m/a.gif", "m/b.gif"],
        "i",
        "m",
        "index_masks.py 'i/*.tif' 'm/*.gif' data",
    ),
}


def write(files):
    """Files of these names, which is all that is looked at; DICOM where a name has no ending."""
    for name in files:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(DECATHLON if path.name == "dataset.json" else b"" if path.suffix else DICOM)


@pytest.fixture
def form(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files, images, masks, command = FORMS[request.param]
    write(files)
    return images, masks, f"Prepare the data first: python data_preparation/{command}\n"


def line_of(capsys):
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line.startswith("Error: ")
    return line


@pytest.mark.parametrize("form", FORMS, indirect=True)
def test_planning_names_the_command(form, capsys):
    images, masks, command = form
    with pytest.raises(SystemExit) as stopped:
        plan.main([images, masks, "mine", "--quiet", "--no-timing"])
    assert stopped.value.code == 2
    assert line_of(capsys).endswith(command)


@pytest.mark.parametrize("form", FORMS, indirect=True)
def test_training_names_the_command(form):
    images, masks, command = form
    cfg = load_config(["VERBOSE=0", *(f"DATASET.{split}.{key}='{path}'" for split in ("TRAIN", "VAL")
                                      for key, path in (("IMAGES_PATH", images), ("MASK_PATH", masks)))])  # fmt: skip
    with pytest.raises(UserError) as refused:
        train(cfg)
    assert f"{refused.value}\n".endswith(command)


@pytest.mark.parametrize("form", ["BraTS", "DICOM", "nuclei", "DRIVE", "LGG", "Decathlon"], indirect=True)
def test_the_command_for_annotations_names_the_other(form, capsys):
    with pytest.raises(SystemExit) as stopped:
        annotations.main([form[0], "out", "--quiet"])
    assert stopped.value.code == 2
    assert "Prepare the data first: python data_preparation/" in line_of(capsys)


def test_paths_below_another_work_dir_are_written_in_full(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write(FORMS["nuclei"][0])
    monkeypatch.chdir(tmp_path / "elsewhere")
    work = tmp_path / "work"
    cfg = load_config([f"WORK_DIR={work}", "DATASET.TRAIN.IMAGES_PATH=n", "DATASET.TRAIN.MASK_PATH=n", "VERBOSE=0"])
    with pytest.raises(UserError, match=f"nuclei.py {work}/n data"):
        train(cfg)


def test_other_faults_keep_their_message(tmp_path, monkeypatch, capsys):
    """A mask that is missing is no other form, whatever else lies beside the pictures."""
    monkeypatch.chdir(tmp_path)
    write(["i/a.png", "i/b.png", "i/notes.json", "i/Thumbs.db", "m/a.png", "m/classes.txt", "m/table.csv", "m/x.nii"])
    with pytest.raises(SystemExit):
        plan.main(["i", "m", "mine", "--quiet", "--no-timing"])
    assert "b.png: no mask in" in capsys.readouterr().err


def test_gif_masks_are_prepared_by_the_command_that_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(FORMS["GIF"][0])
    for name in ("a", "b"):
        cv2.imwrite(f"i/{name}.tif", np.full((16, 16), 7, np.uint8))
        Image.fromarray(np.tile(np.uint8([0, 255]), (16, 8))).save(f"m/{name}.gif")
    with pytest.raises(UserError) as refused:
        refuse_raw("i", "m")
    typed = shlex.split(str(refused.value).partition("index_masks.py ")[2])
    index_masks.main([*typed, "--quiet"])
    (mask, *_) = Path("data/train/mask").iterdir()
    assert np.unique(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)).tolist() == [0, 1]


def test_every_row_names_a_command():
    assert all((PROJECT / "data_preparation" / row.command).is_file() for row in TABLE)
