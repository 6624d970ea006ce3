"""Annotations of COCO are drawn as pycocotools draws them; damaged ones end with one line."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from public_format_helpers import make_coco, refuse, run
from pycocotools import mask as coco_mask

from data_generators.reading.masks import read_mask
from data_preparation import coco
from data_preparation.common import coco_segmentations


def coco_arguments(folder, *more):
    return [folder / "{split}.json", folder / "{split}", folder / "data", *more]


def number_mask(folder, number):
    return read_mask(folder / f"data/train/mask/{number:012d}.png")


def test_coco(tmp_path, capsys):
    _, circle = make_coco(tmp_path)
    report = run(coco, capsys, *coco_arguments(tmp_path, "--categories", "cat", 1))
    assert "train: 5 pairs written" in report and "skipped" not in report
    first = number_mask(tmp_path, 1)
    assert set(np.unique(first)) == {0, 1, 2}
    assert first[5, 5] == 2 and first[1, 1] == 1 and first[14, 19] == 1 and first[16, 28] == 1 and first[16, 10] == 0
    assert not number_mask(tmp_path, 2).any()
    third = number_mask(tmp_path, 3)
    assert third[5, 12] == 1 and third[0, 12] == 2  # the crowd below the cat, although it is smaller
    np.testing.assert_array_equal(number_mask(tmp_path, 4), circle)
    assert (number_mask(tmp_path, 5)[:, 0] == 2).all() and number_mask(tmp_path, 5).sum() == 40


def test_coco_options(tmp_path, capsys):
    make_coco(tmp_path)
    report = run(coco, capsys, *coco_arguments(tmp_path, "--empty", "skip", "--crowd", "skip"))
    assert "annotation 12: crowd region" in report and "annotation 16: no segmentation" in report
    assert "000000000002.jpg: no instances of the chosen categories" in report
    assert number_mask(tmp_path, 1)[5, 5] == 1  # all categories: by number, person is 1, cat 2
    assert number_mask(tmp_path, 3)[0, 12] == 0
    run(coco, capsys, *coco_arguments(tmp_path, "--crowd", "ignore", "--ignore", 200))
    assert number_mask(tmp_path, 3)[0, 12] == 200


def test_overlapping_categories_are_bits(tmp_path, capsys):
    make_coco(tmp_path)
    chosen = coco_arguments(tmp_path, "--categories", "cat", 1)
    run(coco, capsys, *chosen)
    on_top = [number_mask(tmp_path, number) for number in range(1, 6)]
    run(coco, capsys, *chosen, "--multi-label")
    bits = [number_mask(tmp_path, number) for number in range(1, 6)]
    for index, values in zip(on_top, bits, strict=True):
        assert ((index > 0) == (values > 0)).all() and (values[index > 0] >> (index[index > 0] - 1) & 1).all()
    assert bits[0][5, 5] == 3
    run(coco, capsys, *chosen, "--multi-label", "--crowd", "ignore")
    assert number_mask(tmp_path, 3)[0, 12] == 255 and number_mask(tmp_path, 3)[5, 12] == 1
    options = ["--multi-label", "--crowd", "ignore", "--ignore", 3]
    assert "2 have 0 to 3" in refuse(coco, capsys, tmp_path / "data", *chosen, *options)


@pytest.mark.parametrize("kind", ["polygons", "text", "list"])
def test_coco_draws_what_pycocotools_draws(kind):
    @given(
        st.lists(
            st.lists(st.floats(-8, 400), min_size=6, max_size=12).filter(lambda p: len(p) % 2 == 0),
            min_size=1,
            max_size=3,
        )
    )
    @settings(deadline=None, max_examples=150)
    def compare(polygons):
        polygons = [[round(number, 2) for number in polygon] for polygon in polygons]
        height, width = 300, 350
        runs = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        expected = coco_mask.decode(runs)
        mask = np.zeros((height, width), np.uint8)
        if kind == "polygons":
            top, left, crop = coco_segmentations.draw_polygons(polygons, height, width, "x")
            mask[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        else:
            counts = runs["counts"].decode()
            counts = coco_segmentations.expand_counts(counts, "x") if kind == "list" else counts
            mask = coco_segmentations.decode_runs({"size": [height, width], "counts": counts}, height, width, "x")
        np.testing.assert_array_equal(mask, expected)

    compare()


RUNS = {"size": [20, 30], "counts": [0, 20, 580]}
BAD_SEGMENTATIONS = {
    "has the size [30, 20]": {**RUNS, "size": [30, 20]},
    "has 700 pixels": {**RUNS, "counts": [100, 600]},
    "integers from 0": {**RUNS, "counts": [-10, 20, 590]},
    "is truncated": {**RUNS, "counts": "X"},
    "is damaged": {**RUNS, "counts": "~~~"},
    "neither polygons nor": {**RUNS, "counts": None},
    "a list of numbers": [[1, 2, 3, 4, 5, 6, 7]],
    "must be a list of numbers": [["a", 2, 3, 4, 5, 6]],
    "far outside": [[1, 2, 3, 4, 5, 1e9]],
}


@pytest.mark.parametrize("words", BAD_SEGMENTATIONS)
def test_bad_segmentations(tmp_path, capsys, words):
    annotation = {"id": 77, "image_id": 4, "category_id": 7, "segmentation": BAD_SEGMENTATIONS[words]}
    make_coco(tmp_path, annotations=[annotation])
    error = refuse(coco, capsys, tmp_path / "data", *coco_arguments(tmp_path))
    assert "annotation 77" in error and words in error


def test_polygons_of_two_points_hold_nothing(tmp_path, capsys):
    segmentation = [[1, 2, 9, 9], [2, 2, 9, 2, 9, 9]]  # pycocotools would take the first for a box
    make_coco(tmp_path, annotations=[{"id": 7, "image_id": 4, "category_id": 7, "segmentation": segmentation}])
    run(coco, capsys, *coco_arguments(tmp_path))
    expected = coco_mask.decode(coco_mask.frPyObjects(segmentation[1:], 20, 30))[:, :, 0]
    np.testing.assert_array_equal(number_mask(tmp_path, 4) > 0, expected)


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ([], "no image has an instance of the categories, so that every mask would be empty"),
        ([{"id": 1, "image_id": 4, "category_id": 7, "segmentation": [[0.1, 0.1, 0.9, 0.1, 0.9, 1]]}], "from 0 to 1"),
        ([{"id": 1, "image_id": "4", "category_id": 7, "segmentation": []}], "belongs to image '4', which is not"),
    ],
)
def test_masks_that_would_be_empty(tmp_path, capsys, annotations, words):
    make_coco(tmp_path, annotations=annotations)
    assert words in refuse(coco, capsys, tmp_path / "data", *coco_arguments(tmp_path))


def test_bad_coco(tmp_path, capsys):
    output = tmp_path / "data"
    data, _ = make_coco(tmp_path)

    def error(*more, **changes):
        make_coco(tmp_path, **changes)
        return refuse(coco, capsys, output, *coco_arguments(tmp_path, *more))

    assert "has no category dog. " in error("--categories", "dog") and "90 tooth brush" in error("--categories", "dog")
    assert "--categories: 2 categories, some twice" in error("--categories", "cat", 7)
    assert "annotation 10 is listed twice" in error(annotations=data["annotations"] + data["annotations"][:1])
    assert "image 3 is listed twice" in error(images=data["images"] + data["images"][:1])
    unknown = {**data["annotations"][0], "id": 50}
    assert "category 4, which is not listed" in error(annotations=[{**unknown, "category_id": 4}])
    assert "image 99, which is not listed" in error(annotations=[{**unknown, "image_id": 99}])
    assert "has no list of categories" in error(categories=None)
    assert "00006.jpg, which does not exist" in error(
        images=[*data["images"], {**data["images"][0], "id": 6, "file_name": "000000000006.jpg"}]
    )
    same = {**data["images"][0], "id": 6}
    assert "images 3 and 6 are both" in error(images=[*data["images"], same])
    make_coco(tmp_path)
    text = (tmp_path / "train.json").read_text()
    (tmp_path / "train.json").write_text(text[: len(text) // 2])
    assert "train.json: is not a complete JSON" in refuse(coco, capsys, output, *coco_arguments(tmp_path))
    assert not output.exists()
    other = [{**image, "height": 30, "width": 20} for image in data["images"]]
    assert "is 20x30 pixels" in error(images=other)


def test_categories_of_one_name_are_chosen_by_number(tmp_path, capsys):
    data, _ = make_coco(tmp_path)
    two = [{**category, "name": "cat"} if category["id"] == 1 else category for category in data["categories"]]
    make_coco(tmp_path, categories=two)
    error = refuse(coco, capsys, tmp_path / "data", *coco_arguments(tmp_path, "--categories", "cat"))
    assert "could be any of: 1 cat, 7 cat. Choose by number" in error
    run(coco, capsys, *coco_arguments(tmp_path, "--categories", 7, 1))
    assert set(np.unique(number_mask(tmp_path, 1))) == {0, 1, 2}
    number_as_name = [{**category, "name": "7"} if category["id"] == 1 else category for category in two]
    make_coco(tmp_path, categories=number_as_name)
    error = refuse(coco, capsys, tmp_path / "data", *coco_arguments(tmp_path, "--categories", 7))
    assert "could be any of: 1 7, 7 cat. Rename" in error


def test_the_placeholder_of_roboflow_is_no_class(tmp_path, capsys):
    data, _ = make_coco(tmp_path)
    heading = [{"id": 0, "name": "things", "supercategory": "none"}]
    others = [{**category, "supercategory": "things"} for category in data["categories"]]
    make_coco(tmp_path, categories=heading + others)
    report = run(coco, capsys, *coco_arguments(tmp_path))
    assert "category 0 things: heading of the others" in report
    assert number_mask(tmp_path, 1)[5, 5] == 1  # person, the lowest number
    run(coco, capsys, *coco_arguments(tmp_path, "--categories", "things", "person"))
    assert number_mask(tmp_path, 1)[5, 5] == 2
    make_coco(tmp_path, categories=heading + data["categories"])  # an ordinary category 0 stays
    run(coco, capsys, *coco_arguments(tmp_path))
    assert number_mask(tmp_path, 1)[5, 5] == 2


def test_classes_are_the_same_in_every_split(tmp_path, capsys):
    data, _ = make_coco(tmp_path)
    other = [{"id": 1, "name": "cat"}, {"id": 7, "name": "person"}]
    text = json.dumps({**data, "categories": other, "annotations": []})
    (tmp_path / "val.json").write_text(text)
    (tmp_path / "val").symlink_to("train")
    error = refuse(coco, capsys, tmp_path / "data", *coco_arguments(tmp_path))
    assert "has the categories person, cat, tooth brush, but" in error and "--categories" in error
    run(coco, capsys, *coco_arguments(tmp_path, "--categories", "cat", "person"))


def test_annotations_without_segmentation_do_not_vanish(tmp_path, capsys):
    data, _ = make_coco(tmp_path)
    four = [{**data["annotations"][0], "segmentation": [[2, 2, 9, 9]]}]
    make_coco(tmp_path, annotations=four)
    report = run(coco, capsys, *coco_arguments(tmp_path))
    assert "annotation 10: polygons of fewer than three points enclose nothing: [2, 2, 9, 9]" in report
    make_coco(tmp_path, annotations=[{**annotation, "segmentation": []} for annotation in data["annotations"]])
    error = refuse(coco, capsys, tmp_path / "data", *coco_arguments(tmp_path))
    assert "no annotation has a segmentation" in error


@pytest.mark.parametrize(
    "segmentation",
    [
        [[40, 2, 50, 2, 50, 9]],  # right of the image
        [[0.1, 0.1, 0.4, 0.1, 0.4, 0.4]],  # between the pixels
        [[2, 2, 9, 2, 9, 2]],  # a line
        {"size": [20, 30], "counts": [600]},
    ],
)
def test_annotations_that_cover_no_pixel_are_named(segmentation, tmp_path, capsys):
    data, _ = make_coco(tmp_path)
    first, *others = data["annotations"]
    make_coco(tmp_path, annotations=[{**first, "segmentation": segmentation}, *others])
    assert "annotation 10: covers no pixel of its image" in run(coco, capsys, *coco_arguments(tmp_path))


@pytest.mark.parametrize("segmentation", [[[25, 2, 50, 2, 50, 9]], [[4.2, 4.2, 5, 4.2, 5, 5, 4.2, 5]]])
def test_what_covers_some_pixels_is_drawn(segmentation, tmp_path, capsys):
    make_coco(tmp_path, annotations=[{"id": 7, "image_id": 4, "category_id": 7, "segmentation": segmentation}])
    assert "covers no pixel" not in run(coco, capsys, *coco_arguments(tmp_path))
    assert number_mask(tmp_path, 4).any()


@pytest.mark.parametrize("size", [(None, None), ("20", "30"), (20, True), (0, 30), (20.5, 30), (float("nan"), 30)])
def test_images_without_size(size, tmp_path, capsys):
    data, _ = make_coco(tmp_path)
    make_coco(tmp_path, images=[{**image, "height": size[0], "width": size[1]} for image in data["images"]])
    assert f"height {size[0]!r} and the width {size[1]!r}. Give both" in refuse(
        coco, capsys, tmp_path / "data", *coco_arguments(tmp_path)
    )


@pytest.mark.parametrize(
    "change, words",
    [
        ({"id": [1]}, "without id"),
        ({"id": True}, "without id"),
        ({"image_id": [1]}, "without image_id"),
        ({"category_id": {"a": 1}}, "without category_id"),
        ({"iscrowd": "0"}, "iscrowd is 0, not 0 or 1"),
        ({"iscrowd": [0]}, "iscrowd"),
    ],
)
def test_annotations_of_other_types(change, words, tmp_path, capsys):
    data, _ = make_coco(tmp_path)
    make_coco(tmp_path, annotations=[{**data["annotations"][0], **change}])
    assert words in refuse(coco, capsys, tmp_path / "data", *coco_arguments(tmp_path))


@pytest.mark.parametrize(
    "file_name, words",
    [
        ("../secret.jpg", "leads out of"),
        ("/etc/secret.jpg", "leads out of"),
        (["a"], "no file_name"),
        (None, "no file_name"),
        ("a" * 300, "longer than"),
        ("a\0.jpg", "control characters"),
    ],
)
def test_names_of_images_stay_in_their_folder(file_name, words, tmp_path, capsys):
    data, _ = make_coco(tmp_path)
    make_coco(tmp_path, images=[{**image, "file_name": file_name} for image in data["images"]])
    assert words in refuse(coco, capsys, tmp_path / "data", *coco_arguments(tmp_path))


def test_utf_16_and_numbers_with_a_point(tmp_path, capsys):
    data, _ = make_coco(tmp_path)
    data["annotations"] = [
        {**annotation, "image_id": float(annotation["image_id"]), "category_id": float(annotation["category_id"])}
        for annotation in data["annotations"]
    ]
    (tmp_path / "train.json").write_bytes(json.dumps(data).encode("utf-16"))
    run(coco, capsys, *coco_arguments(tmp_path))
    assert number_mask(tmp_path, 1)[5, 5] == 1
