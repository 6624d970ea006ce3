"""Plans of masks whose values stand for several classes: asked for, proposed for data that is known, or refused."""

import numpy as np
import pytest
from plan_helpers import first_sample, grey, planned, refused, striped
from scan_helpers import nifti, scan

from data_preparation import volumes
from data_preparation.planning.label_sets import known_sets

CASES = [f"a{number}" for number in range(5)]
NESTED = ["--label-sets", "1=liver", "2=liver,tumour"]
BRATS = "--label-sets 1=whole,core 2=whole 4=whole,core,enhancing"
SEQUENCES = ["t1", "t1ce", "t2", "flair"]


def test_values_stand_for_several_classes(write, tmp_path):
    write({case: (grey(), striped([0, 1, 2, 2])) for case in CASES})
    cfg = planned(*NESTED)
    assert cfg.DATASET.LABEL_SETS == {1: ["liver"], 2: ["liver", "tumour"]}
    assert cfg.OUTPUT.MULTI_LABEL and cfg.OUTPUT.CLASSES == 2
    assert cfg.OUTPUT.CLASS_NAMES == ["background", "liver", "tumour"]
    assert cfg.DATASET.LABEL_VALUES is None and cfg.LOSS_OPTIONS.cce.class_weights is None
    assert first_sample(cfg)[1][0, :4].tolist() == [0, 1, 3, 3]
    text = " ".join((tmp_path / "configs/experiment/mine.yaml").read_text().replace("#", "").split())
    assert "0: 25.00% in 5 masks; 1: 75.00% in 5 masks; 2: 50.00% in 5 masks" in text


def test_several_values_may_be_one_class_and_others_unlabelled(write):
    write({case: (grey(), striped([0, 1, 2, 255])) for case in CASES})
    cfg = planned("--label-sets", "1=tumour", "2=tumour", "--ignore", 255)
    assert cfg.OUTPUT.CLASSES == 1 and not cfg.OUTPUT.MULTI_LABEL and cfg.DATASET.IGNORE_LABEL == 255
    assert first_sample(cfg)[1][0, :4].tolist() == [0, 1, 1, 255]


def test_a_value_may_be_of_no_class(write):
    write({case: (grey(), striped([0, 1, 2, 3])) for case in CASES})
    cfg = planned(*NESTED, "3=")
    assert cfg.DATASET.LABEL_SETS == {1: ["liver"], 2: ["liver", "tumour"], 3: []} and cfg.OUTPUT.CLASSES == 2
    assert first_sample(cfg)[1][0, :4].tolist() == [0, 1, 3, 0]


@pytest.mark.parametrize(
    "options, words",
    [
        (["--label-sets", "liver"], "--label-sets liver: a value of masks and the names of its classes"),
        (["--label-sets", "1=1,2"], "--label-sets 1=1,2: a value"),
        (["--label-sets", "1=a", "1=b"], "the value 1 is given twice"),
        (["--label-sets", "1="], "no value has a class"),
        (["--label-sets", "1=a,b,c,d,e,f,g,h,i"], "class 9 has no bit"),
        (["--label-sets", "1=liver"], "holds the value 2; DATASET.LABEL_SETS has [0, 1]"),
        ([*NESTED, "--values", 0, 1], "Leave --values out"),
        ([*NESTED, "--names", "none,a,b"], "leave --names out"),
        ([*NESTED, "--class-masks", "a", "b"], "choose one"),
    ],
)
def test_sets_that_cannot_be_used_are_refused(options, words, write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1, 2])) for case in CASES})
    assert words in refused(capsys, *options)
    assert not (tmp_path / "configs/experiment").exists()


@pytest.mark.parametrize(
    "values, sequences, number",
    [
        ([0, 1, 2, 4], SEQUENCES, 1),
        ([0, 1, 2, 3], ["T1n", "T1c", "T2w", "T2-FLAIR"], 2),  # numbered in two ways
        ([0, 1, 2, 4], ["t1", "t2"], 0),
        ([0, 1], SEQUENCES, 0),
        ([0, 1, 2, 4], None, 0),
    ],
)
def test_regions_of_brain_tumours_are_known_by_values_and_sequences(values, sequences, number):
    assert len(known_sets(values, sequences)) == number


def test_brats_is_prepared_and_planned(tmp_path, write, capsys):
    """The documented chain, docs/how-to/public-datasets.md; the regions are proposed, and taken when they are typed."""
    write({})
    depth = np.arange(4)[np.newaxis, np.newaxis]
    for case in CASES:
        voxels = scan()
        for number, sequence in enumerate(SEQUENCES):
            nifti(tmp_path / f"brats/{case}/{case}_{sequence}.nii.gz", voxels + 100 * number)
        values = np.array([0, 1, 2, 4], np.uint8)[(np.arange(12)[:, np.newaxis, np.newaxis] + depth) % 4]
        nifti(tmp_path / f"brats/{case}/{case}_seg.nii.gz", np.broadcast_to(values, voxels.shape).copy())
    patterns = ["--volumes", "*/*_{}.nii.gz", "--segmentations", "*/*_seg.nii.gz", "--workers", "1", "--quiet"]
    volumes.main(["brats", "data", "--channels", *SEQUENCES, *patterns])
    folders = {"images": "data/{split}/images", "masks": "data/{split}/mask"}
    message = refused(capsys, **folders)
    places = [message.index(text) for text in (f"{BRATS} (BraTS until 2021)", "--ignore 4", "--ignore none")]
    assert places == sorted(places), "what the data was recognised as comes first"
    cfg = planned(*BRATS.split(), **folders)
    assert cfg.INPUT.CHANNELS == 4 and cfg.OUTPUT.CLASSES == 3
    assert cfg.OUTPUT.CLASS_NAMES == ["background", "whole", "core", "enhancing"]
    image, mask = first_sample(cfg)
    assert image.shape == (10, 12, 4) and sorted(np.unique(mask)) == [0, 1, 3, 7]
