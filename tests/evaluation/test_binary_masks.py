"""Masks of one class in a folder of its name score as the masks of all classes do."""

import cv2
import nibabel as nib
import numpy as np
import pytest

from evaluate import evaluate
from utils.base.class_bits import unpack
from utils.base.errors import UserError
from utils.config import load_config
from utils.config.class_names import mask_class_names
from utils.inference.image_sources import ImageSource
from utils.inference.writers import MaskPrediction, WriterSettings
from utils.inference.writers.masks import MaskWriter

RNG = np.random.default_rng(4)
TRUE, FOUND = RNG.integers(0, 3, (2, 3, 6, 8), np.uint8)
BINARY = "PREDICT.MASK_VALUES=binary"
NAMES = "OUTPUT.CLASS_NAMES=[none,liver,tumour/a]"


def config(folder, *overrides):
    settings = ["OUTPUT.CLASSES=3", "VERBOSE=0", "EVALUATION.GALLERY=1", "EVALUATION.BOOTSTRAP=9"]
    return load_config([f"WORK_DIR={folder}", *settings, "DATASET.VAL.MASK_PATH=truth", *overrides])


def predict_as(folder, cfg, masks):
    """Write masks as predict.py does."""
    folder.mkdir()
    writer = MaskWriter(folder, WriterSettings.from_config(cfg, mask_class_names(cfg)))
    for index, mask in enumerate(masks):
        writer.write(MaskPrediction(ImageSource(folder / f"image_{index}.png"), labels=[mask]))


def write_truth(folder, masks):
    (folder / "truth").mkdir()
    for index, mask in enumerate(masks):
        cv2.imwrite(str(folder / f"truth/mask_{index}.png"), mask)


@pytest.mark.parametrize(
    "overrides",
    [
        [NAMES],
        ["OUTPUT.BACKGROUND=False"],
        [NAMES, "OUTPUT.CLASSES=2", "OUTPUT.MULTI_LABEL=True"],
    ],
)
def test_a_folder_for_each_class_has_the_scores_of_masks_of_all(overrides, tmp_path):
    write_truth(tmp_path, TRUE)
    for values in ("classes", "binary"):
        predict_as(tmp_path / values, config(tmp_path, f"PREDICT.MASK_VALUES={values}", *overrides), FOUND)
    assert len(list((tmp_path / "binary/masks").iterdir())) in (2, 3)
    scores = [
        evaluate(config(tmp_path, f"EVALUATION.PREDICTIONS={name}", f"PREDICT.MASK_VALUES={values}", *overrides))
        for name, values in (("classes", "classes"), ("binary/masks", "binary"))
    ]
    assert 0 < scores[0]["dice_class1"] < 1
    assert scores[1] == pytest.approx(scores[0], nan_ok=True)


@pytest.mark.parametrize("multi_label", [False, True])
def test_volumes(multi_label, tmp_path):
    overrides = [NAMES, f"OUTPUT.MULTI_LABEL={multi_label}", f"OUTPUT.CLASSES={3 - multi_label}"]
    planes = unpack(FOUND, 2) if multi_label else np.stack([FOUND == 1, FOUND == 2], axis=-1)
    whole = unpack(TRUE, 2) if multi_label else TRUE
    files = {"truth": whole, "all": unpack(FOUND, 2) if multi_label else FOUND}
    files |= {f"binary/masks/{name}": planes[..., index] for index, name in enumerate(("liver", "tumour_a"))}
    for folder, voxels in files.items():
        (tmp_path / folder).mkdir(parents=True)
        nib.save(nib.Nifti1Image(voxels.astype(np.uint8), np.diag([2.0, 1, 3, 1])), tmp_path / folder / "scan.nii.gz")
    expected = evaluate(config(tmp_path, "EVALUATION.PREDICTIONS=all", *overrides))
    assert 0 < expected["dice_class2"] < 1
    found = evaluate(config(tmp_path, "EVALUATION.PREDICTIONS=binary", BINARY, *overrides))
    assert found == pytest.approx(expected, nan_ok=True)


def test_bad_input_is_one_line(tmp_path):
    def refuses(*words, predictions="binary", overrides=()):
        with pytest.raises(UserError) as caught:
            evaluate(config(tmp_path, f"EVALUATION.PREDICTIONS={predictions}", BINARY, NAMES, *overrides))
        assert all(word in str(caught.value) for word in words), caught.value

    write_truth(tmp_path, TRUE)
    predict_as(tmp_path / "binary", config(tmp_path, BINARY, NAMES), FOUND)
    refuses("there is no such folder", predictions="nowhere")
    refuses("has no folder liver, tumour_a", predictions="truth")
    refuses("Leave one out", overrides=["EVALUATION.OBJECTS=True", "OUTPUT.CLASSES=2", "OUTPUT.CLASS_NAMES=null"])
    liver, tumour = (tmp_path / f"binary/masks/{name}/image_1.png" for name in ("liver", "tumour_a"))
    kept = liver.read_bytes()
    cv2.imwrite(str(liver), np.ones((6, 8), np.uint8))
    refuses(f"{(FOUND[1] == 2).sum()} pixels are of several classes, such as liver and tumour_a", "MULTI_LABEL")
    cv2.imwrite(str(liver), np.full((6, 8), 255, np.uint8))
    refuses(f"{liver}: holds the value 255", "1 where its class is")
    cv2.imwrite(str(liver), np.ones((5, 8), np.uint8))
    refuses(f"{liver}: is (5, 8) (height, width), the true mask (6, 8)")
    liver.write_bytes(kept)
    tumour.unlink()
    refuses("liver/image_1.png: has no partner in EVALUATION.PREDICTIONS/tumour_a")
    assert not list(tmp_path.glob("*.evaluation")), "nothing is half-written"
