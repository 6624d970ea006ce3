"""Masks of any tool: every form gives the same scores, raters are compared, bad input is one clear line."""

import csv
import json

import cv2
import nibabel as nib
import numpy as np
import pytest
from helpers import run_command
from pycocotools import mask as coco

from evaluate import evaluate
from utils.base import rle
from utils.base.errors import UserError
from utils.config import load_config
from utils.evaluation.consensus import find_consensus, staple
from utils.evaluation.mask_files import case_name

TRUE = np.uint8([[[0, 1, 1, 0], [0, 1, 1, 0], [2, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2]]])
FOUND = np.uint8([[[0, 1, 1, 1], [0, 1, 0, 0], [2, 2, 0, 0]], [[1, 0, 0, 0], [0, 0, 2, 2], [0, 0, 0, 0]]])
DICE = {"dice_class1": 2 * 3 / (4 + 5), "dice_class2": 2 * 3 / (5 + 4)}  # common, true and predicted pixels by hand
PER_CASE = {"dice_per_case_class1": (2 * 3 / 8 + 0) / 2, "dice_per_case_class2": (2 / 3 + 4 / 6) / 2}


def write_pictures(folder, masks, name="mask_{}.png"):
    folder.mkdir()
    for index, mask in enumerate(masks):
        cv2.imwrite(str(folder / name.format(index)), mask)


def write_volume(path, voxels, affine=None):
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 1, 3, 1]) if affine is None else affine), path)


def write_rle(path, masks, name="image_{}"):
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "ClassId", "EncodedPixels"])
        rows.writerows([name.format(i), c, rle.encode(mask == c)] for i, mask in enumerate(masks) for c in (1, 2))


def write_coco(path, masks):
    entries = []
    for index, mask in enumerate(masks):
        for category in (1, 2):
            runs = coco.encode(np.asfortranarray(mask == category, np.uint8))
            shape = {"size": runs["size"], "counts": runs["counts"].decode()}
            entries.append({"image_id": f"image_{index}", "category_id": category, "segmentation": shape, "score": 0.9})
    path.write_text(json.dumps(entries))


def score(folder, predictions, *overrides):
    settings = [
        "OUTPUT.CLASSES=3",
        "VERBOSE=0",
        "EVALUATION.GALLERY=1",
        "EVALUATION.BOOTSTRAP=9",
        "DATASET.VAL.MASK_PATH=truth",
        f"EVALUATION.PREDICTIONS={predictions}",
    ]
    return evaluate(load_config([f"WORK_DIR={folder}", *settings, *overrides]))


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path / "truth", TRUE)
    write_pictures(tmp_path / "found", FOUND, "image_{}.png")
    return tmp_path


def test_pictures_tables_and_results_have_the_same_scores(folder):
    found = score(folder, "found")
    assert {name: found[name] for name in DICE} == pytest.approx(DICE)
    assert {name: found[name] for name in PER_CASE} == pytest.approx(PER_CASE)
    write_rle(folder / "runs.csv", FOUND)
    write_coco(folder / "results.json", FOUND)
    for predictions in ("runs.csv", "results.json"):
        assert score(folder, predictions) == pytest.approx(found, nan_ok=True), predictions
    assert sorted(path.name for path in folder.glob("*.evaluation/*")) == sorted(
        3 * ["evaluation.json", "per_image.csv", "report.html"]
    )
    with open(folder / "found.evaluation/per_image.csv", newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["image_0.png", "image_1.png"]


def test_objects_of_low_score_are_left_out(folder):
    found = score(folder, "found")
    write_coco(folder / "results.json", FOUND)
    entries = json.loads((folder / "results.json").read_text())
    unsure = {"image_id": "image_0", "category_id": 2, "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]], "score": 0.4}
    (folder / "results.json").write_text(json.dumps([*entries, unsure]))
    assert score(folder, "results.json", "EVALUATION.COCO_SCORE=0.5")["dice"] == pytest.approx(found["dice"])
    unsure["score"] = 0.95  # above the others: on top
    (folder / "results.json").write_text(json.dumps([*entries, unsure]))
    assert score(folder, "results.json", "EVALUATION.COCO_SCORE=0.5")["dice"] < found["dice"]


def test_numbers_of_images_need_the_files_that_they_are(folder):
    found = score(folder, "found")
    write_coco(folder / "named.json", FOUND)
    entries = json.loads((folder / "named.json").read_text())
    for entry in entries:
        entry["image_id"] = {"image_0": 139, "image_1": 7}[entry["image_id"]]
    (folder / "numbers.json").write_text(json.dumps(entries))
    with pytest.raises(UserError, match=r"2 of 2 image ids match no .* such as 139, and 2 .* file name without ending"):
        score(folder, "numbers.json")
    some = [entry | {"image_id": "image_0"} if entry["image_id"] == 139 else entry for entry in entries]
    (folder / "some.json").write_text(json.dumps(some))
    with pytest.raises(UserError, match=r"1 of 2 image ids match no .* such as 7, and 1 true .* such as image_1"):
        score(folder, "some.json")
    (folder / "empty.json").write_text("[]")
    with pytest.raises(UserError, match=r"empty.json: the list of COCO results is empty"):
        score(folder, "empty.json")
    images = [{"id": 139, "file_name": "val/image_0.jpg"}, {"id": 7, "file_name": "image_1.jpg"}]
    whole = {"images": images, "annotations": entries, "categories": []}
    (folder / "whole.json").write_text(json.dumps(whole))
    assert score(folder, "whole.json") == pytest.approx(found, nan_ok=True)
    (folder / "whole.json").write_text(json.dumps(whole | {"annotations": []}))
    assert score(folder, "whole.json")["dice"] == 0  # empty masks of images that are known
    (folder / "whole.json").write_text(json.dumps(whole | {"images": images[:1]}))
    with pytest.raises(UserError, match=r"image_id 7 is not listed in images"):
        score(folder, "whole.json")
    one = [entry for entry in entries if entry["image_id"] == 139]
    (folder / "whole.json").write_text(json.dumps(whole | {"images": images[:1], "annotations": one}))
    with pytest.raises(UserError, match=r"mask_1.png: has no mask in EVALUATION.PREDICTIONS"):
        score(folder, "whole.json")
    (folder / "whole.json").write_text(json.dumps(whole | {"images": [images[0], images[0] | {"id": 7}]}))
    with pytest.raises(UserError, match=r"images 139 and 7 are of one case, image_0"):
        score(folder, "whole.json")


def test_names_that_are_numbers_are_found_by_number(tmp_path):
    write_pictures(tmp_path / "truth", TRUE, "00{}.png")
    write_coco(tmp_path / "results.json", FOUND)
    entries = json.loads((tmp_path / "results.json").read_text())
    numbers = [entry | {"image_id": int(entry["image_id"][-1])} for entry in entries]
    (tmp_path / "results.json").write_text(json.dumps(numbers))
    found = score(tmp_path, "results.json")
    assert {name: found[name] for name in DICE} == pytest.approx(DICE)
    (tmp_path / "results.json").write_text(json.dumps([*numbers, numbers[0] | {"image_id": 99}]))
    assert score(tmp_path, "results.json")["dice"] == found["dice"]  # every mask has an entry: 99 is of another image


def test_255_beside_classes_is_void_or_a_value_first(folder):
    write_pictures(folder / "void", np.uint8(np.where(FOUND > 0, 255, 1)))
    with pytest.raises(UserError, match=r"set DATASET.IGNORE_LABEL=255; if it is a class, PREDICT.MASK_VALUES=labels"):
        score(folder, "void")


@pytest.mark.parametrize(
    "overrides, words",
    [
        ([], "set PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True PREDICT.MASK_VALUES=labels"),
        (["PREDICT.MASK_VALUES=labels"], "set PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True."),
    ],
)
def test_masks_of_0_and_255_are_not_256_classes(folder, overrides, words):
    write_pictures(folder / "white", np.uint8(255 * (FOUND > 0)))
    with pytest.raises(UserError, match=r"mask_0.png: holds the value 255.* Divide these masks by 255") as caught:
        score(folder, "white", *overrides)
    assert words in str(caught.value) and "CLASSES=256" not in str(caught.value)
    for path in (folder / "truth").iterdir():
        cv2.imwrite(str(path), 255 * (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0))
    settings = ["OUTPUT.CLASSES=2", "PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True"]
    with pytest.raises(UserError, match=r"holds the value 255.* set PREDICT.MASK_VALUES=labels\."):
        score(folder, "white", *settings)
    both = [*settings, "PREDICT.MASK_VALUES=labels"]  # what the messages say helps
    assert score(folder, "white", *both)["dice"] == pytest.approx(2 * 6 / (9 + 9))  # pixels of any class by hand


def test_stored_values_are_classes_if_asked(folder):
    write_pictures(folder / "stored", 100 * FOUND)
    for path in (folder / "truth").iterdir():
        cv2.imwrite(str(path), 100 * cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    values = "DATASET.LABEL_VALUES=[0,100,200]"
    with pytest.raises(UserError, match=r"holds the value 100, 200.*PREDICT.MASK_VALUES=labels"):
        score(folder, "stored", values)
    found = score(folder, "stored", values, "PREDICT.MASK_VALUES=labels")
    assert {name: found[name] for name in DICE} == pytest.approx(DICE)


def test_volumes_are_compared_where_their_voxels_lie(tmp_path):
    write_volume(tmp_path / "truth/a.nii.gz", TRUE)
    # The same place with the first axis stored the other way round.
    flipped = np.diag([-2.0, 1, 3, 1])
    flipped[0, 3] = 2 * (len(TRUE) - 1)
    write_volume(tmp_path / "found/a_pred.nii.gz", FOUND[::-1].copy(), flipped)
    found = score(tmp_path, "found", "EVALUATION.SURFACE=True", "EVALUATION.SURFACE_TOLERANCE_MM=[9,0.5]")
    assert {name: found[name] for name in DICE} == pytest.approx(DICE)
    assert found["volume_error_ml_class1"] == pytest.approx(0.006) and found["hd95_mm_class1"] >= 0
    assert 0 < found["surface_dice_0.5mm_class1"] < found["surface_dice_class1"] == 1
    assert "surface Dice at 0.5 mm" in (tmp_path / "found.evaluation/report.html").read_text()
    saved = json.loads((tmp_path / "found.evaluation/evaluation.json").read_text())["splits"]["val"]
    assert saved["case"] == "volume" and saved["cases"] == 1 and saved["images"] == 4
    assert saved["regions"]["class1"]["dice"]["low"] is None  # one case has no interval
    fifths = saved["positions"]
    assert [entry["slices"] for entry in fifths] == [1, 1, 0, 1, 1] and fifths[2]["regions"]["class1"]["dice"] is None
    with open(tmp_path / "found.evaluation/per_image.csv", newline="") as file:
        rows = {row["slice"]: row["dice_class1"] for row in csv.DictReader(file)}
    means = [fifths[place]["regions"]["class1"]["dice"] for place in (0, 1, 3, 4)]
    assert means == [float(rows[number]) if rows[number] else None for number in sorted(rows)]
    assert "Slices by position" in (tmp_path / "found.evaluation/report.html").read_text()
    shifted = flipped.copy()
    shifted[1, 3] = 1
    write_volume(tmp_path / "found/a_pred.nii.gz", FOUND[::-1].copy(), shifted)
    with pytest.raises(UserError, match=r"a_pred.nii.gz: by the two headers its voxels are up to 1.00 mm"):
        score(tmp_path, "found")


def test_lesions_and_centrelines_are_those_of_volumes_outlines_those_of_slices(tmp_path):
    truth, found = np.zeros((2, 3, 8, 8), np.uint8)
    truth[:, 1:4, 1:4] = 1  # a lesion over three slices, found in one of them
    found[1, 1:4, 1:4] = found[0, 6, 6] = 1
    for name, voxels in {"truth": truth, "found": found}.items():
        write_volume(tmp_path / f"{name}/a.nii.gz", voxels.transpose(1, 2, 0))
    metrics = "EVALUATION.METRICS=[confusion,lesions,centreline,boundary]"
    scores = score(tmp_path, "found", metrics, "OUTPUT.CLASSES=2")
    assert scores["lesion_f1_10_class1"] == pytest.approx(2 / 3) and scores["lesion_f1_50_class1"] == 0
    assert scores["lesion_sensitivity_any_class1"] == 1 and scores["lesion_false_positives_any_class1"] == 1
    assert scores["boundary_iou_class1"] == pytest.approx((0 + 1 + 0) / 3) and 0 <= scores["cldice_class1"] < 1
    folder = tmp_path / "found.evaluation"
    with open(folder / "per_volume.csv") as volumes, open(folder / "per_image.csv") as images:
        (volume,), slices = csv.DictReader(volumes), list(csv.DictReader(images))
    assert float(volume["lesion_f1_10_class1"]) == pytest.approx(2 / 3) and "lesion_f1_10_class1" not in slices[0]
    assert [float(row["boundary_iou_class1"]) for row in slices] == [0, 1, 0]
    assert "F1 of lesions, IoU above 0.1" in (folder / "report.html").read_text()
    alone = score(tmp_path, "found", metrics, "OUTPUT.CLASSES=2", "EVALUATION.VOLUMES=false")
    assert alone["lesion_sensitivity_any_class1"] == pytest.approx(1 / 3)  # each slice is a case


def test_overlapping_classes_of_volumes_are_on_a_fourth_axis(tmp_path):
    both = np.stack([TRUE == 1, TRUE > 0], axis=-1).astype(np.uint8)
    write_volume(tmp_path / "truth/a.nii.gz", both)
    write_volume(tmp_path / "found/a.nii.gz", (TRUE == 1) + 2 * (TRUE == 2).astype(np.uint8))  # bits
    found = score(tmp_path, "found", "OUTPUT.CLASSES=2", "OUTPUT.MULTI_LABEL=True")
    assert found["dice_class1"] == 1 and found["dice_class2"] == pytest.approx(2 * 5 / (9 + 5))


def test_raters_are_compared_and_their_consensus_is_the_truth(folder):
    write_pictures(folder / "second", TRUE)
    write_pictures(folder / "third", FOUND)
    raters = ["EVALUATION.RATERS=[second,third]"]
    found = score(folder, "found", *raters, "EVALUATION.TRUTH=majority")
    assert {name: found[name] for name in DICE} == pytest.approx(DICE)  # two of three have TRUE
    saved = json.loads((folder / "found.evaluation/evaluation.json").read_text())["splits"]["val"]["raters"]
    pairs = {(pair["one"], pair["other"]): pair["regions"]["class1"]["dice"]["value"] for pair in saved["pairs"]}
    expected = {("rater 1", "rater 2"): 1, ("rater 3", "prediction"): 1}
    assert pairs == {pair: pytest.approx(expected.get(pair, DICE["dice_class1"])) for pair in pairs} and len(pairs) == 6
    means = saved["mean_dice_per_case"]["class1"]
    one = PER_CASE["dice_per_case_class1"]
    assert means == pytest.approx({"between raters": (1 + 2 * one) / 3, "prediction and raters": (1 + 2 * one) / 3})


def test_consensus_of_overlapping_and_ignored_pixels():
    votes = np.uint8([[3, 1, 255, 0], [1, 2, 1, 0], [2, 0, 1, 4]])
    assert find_consensus("majority", votes, 4, 255, multi_label=True).tolist() == [3, 0, 255, 0]
    assert find_consensus("majority", np.uint8([[0, 2], [1, 2]]), 3).tolist() == [0, 2]  # equal votes: the lowest


def test_a_tie_of_raters_is_the_lowest_class_and_no_overlapping_one():
    tie = np.uint8([[0, 1, 2], [1, 2, 0], [0, 1, 2], [1, 2, 0]])
    assert find_consensus("majority", tie, 3).tolist() == [0, 1, 0]
    assert find_consensus("majority", np.uint8([[3, 2], [1, 1]]), 3, multi_label=True).tolist() == [1, 0]


def test_staple_is_expectation_maximisation_over_pixels():
    """Warfield et al. 2004, section 2, of a binary mask: sensitivity p and specificity q of each rater."""
    random = np.random.default_rng(0)
    truth = random.random(4000) < 0.3
    wrong = random.random((5, 4000)) < np.array([0.04, 0.05, 0.06, 0.45, 0.45])[:, None]
    votes = (truth ^ wrong).astype(np.uint8)
    p = q = np.full(5, 0.99)
    prior = votes.mean()
    for _ in range(300):
        yes = prior * np.prod(np.where(votes, p[:, None], 1 - p[:, None]), axis=0)
        no = (1 - prior) * np.prod(np.where(votes, 1 - q[:, None], q[:, None]), axis=0)
        weight = yes / (yes + no)
        p, q = (weight * votes).sum(1) / weight.sum(), ((1 - weight) * (1 - votes)).sum(1) / (1 - weight).sum()
    found = staple(votes.reshape(5, 40, 100), 2)
    assert np.array_equal(found.ravel(), weight > 0.5)
    majority = find_consensus("majority", votes, 2)
    assert (found.ravel() == truth).mean() > (majority == truth).mean()  # two raters hardly count


@pytest.mark.parametrize("raters", [[], ["EVALUATION.RATERS=[truth]", "EVALUATION.TRUTH=majority"]])
def test_a_prediction_may_ignore_only_what_the_truth_ignores(folder, raters):
    settings = ["DATASET.IGNORE_LABEL=255", "PREDICT.MASK_VALUES=labels", *raters]
    true, found = TRUE.copy(), FOUND.copy()
    found[0, 0, 1] = 255  # true and predicted class 1
    write_pictures(folder / "void", found, "image_{}.png")
    with pytest.raises(UserError, match=r"image_0.png: holds 255 \(DATASET.IGNORE_LABEL\) in 1 pixel that the true"):
        score(folder, "void", *settings)
    true[0, 0, 1] = 255
    for index, mask in enumerate(true):
        cv2.imwrite(str(folder / f"truth/mask_{index}.png"), mask)
    scores = score(folder, "void", *settings)
    assert (scores["dice_class1"], scores["dice_class2"]) == pytest.approx((2 * 2 / (3 + 4), DICE["dice_class2"]))
    assert scores == pytest.approx(score(folder, "found", *settings), nan_ok=True)


def test_names_of_cases():
    names = ["mask_1_2", "train_mask_3", "case_7_mask", "segmentation-12", "scan_pred", "image_1_2"]
    assert list(map(case_name, names)) == ["image_1_2", "train_image_3", "case_7", "volume-12", "scan", "image_1_2"]


def test_bad_input_is_one_line(folder):
    def refuses(words, *overrides, predictions="found"):
        with pytest.raises(UserError) as caught:
            score(folder, predictions, *overrides)
        assert all(word in str(caught.value) for word in words), caught.value

    refuses(["holds the value 2", "OUTPUT.CLASSES=3"], "OUTPUT.CLASSES=2")
    refuses(["there is no such folder"], predictions="nowhere")
    refuses(["leave EVALUATION.SPLITS"], "EVALUATION.SPLITS=[val,test]")
    refuses(["set EVALUATION.PREDICTIONS"], "EVALUATION.RATERS=[a]", predictions="null")
    refuses(["needs the masks of other raters"], "EVALUATION.TRUTH=staple")
    refuses(["type EVALUATION.SURFACE=True, too"], "EVALUATION.SURFACE_TOLERANCE_MM=1")
    write_pictures(folder / "few", FOUND[:1])
    refuses(["mask_1.png: has no mask in EVALUATION.PREDICTIONS"], predictions="few")
    refuses(["mask_1.png: has no mask in EVALUATION.RATERS[0]"], "EVALUATION.RATERS=[few]")
    write_pictures(folder / "small", FOUND[:, :2])
    refuses(["is (2, 4) (height, width), the true mask (3, 4)"], predictions="small")
    (folder / "bad.json").write_text('[{"image_id": "image_0", "category_id": 3, "segmentation": []}]')
    refuses(["category_id is 3", "from 1 to 2"], predictions="bad.json")
    assert not list(folder.glob("*.evaluation")), "nothing is half-written"


def test_the_command_needs_no_network_and_says_that_one_case_has_no_interval(tmp_path):
    write_pictures(tmp_path / "truth", TRUE[:1])
    write_pictures(tmp_path / "found", FOUND[:1])
    command = f"""
import sys; sys.argv = ["evaluate.py", "WORK_DIR={tmp_path}", "OUTPUT.CLASSES=3", "DATASET.VAL.MASK_PATH=truth",
                        "EVALUATION.PREDICTIONS=found"]
import runpy; runpy.run_path("evaluate.py", run_name="__main__")
print([name for name in ("tensorflow", "keras", "jax") if name in sys.modules])"""
    done = run_command("-c", command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]" and "no confidence intervals: there is one image" in done.stdout
