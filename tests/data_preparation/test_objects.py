"""Single objects on their way into a dataset: label images, borders where objects touch, bad input."""

import cv2
import numpy as np
import pytest
from annotation_form_helpers import MAKERS, labelme_content, labelme_shape, scene, write_json
from public_format_helpers import RNG, make_coco, make_table, refuse, run, save
from skimage.morphology import dilation

from data_generators.reading.boundary_weights import boundary_weights
from data_generators.reading.masks import read_mask
from data_generators.reading.objects import read_objects
from data_preparation import annotations, coco, index_masks, nuclei, rle_csv
from data_preparation.annotation_forms.forms import FORMS
from data_preparation.common.objects import ObjectMasks, near_others
from utils.base.errors import UserError

TOUCHING = np.int32([[0, 4, 4, 4, 9, 9, 9, 0]] * 4)


def make_labels(folder, labels=TOUCHING, name="a.tif"):
    save(folder / "images/a.png", RNG.integers(0, 256, labels.shape, np.uint8))
    save(folder / f"labels/{name}", labels)
    return [index_masks, folder / "images", folder / "labels", folder / "data", "--numbers", "--val", "0"]


def test_label_images_become_masks_and_stay(tmp_path, capsys):
    script, *arguments = make_labels(tmp_path, TOUCHING * 100_000)  # TIFF of 32 bit
    run(script, capsys, *arguments, "--objects", "--border", "1", "--border-class")
    data = tmp_path / "data/train"
    assert read_mask(data / "mask/a.png")[0].tolist() == [0, 1, 1, 2, 2, 1, 1, 0]
    assert read_objects(data / "objects/a.png")[0].tolist() == [0, 1, 1, 1, 2, 2, 2, 0]
    assert '"border"' in (data / "prepared.json").read_text()
    (data / "objects/a.png").unlink()
    assert "1 pair written" in run(script, capsys, *arguments, "--objects", "--border", "1", "--border-class")
    assert "1 unchanged" in run(script, capsys, *arguments, "--objects", "--border", "1", "--border-class")
    run(script, capsys, *arguments)
    assert read_mask(data / "mask/a.png")[0].tolist() == [0, 1, 1, 1, 1, 1, 1, 0]
    assert not (data / "objects/a.png").exists()  # it would be that of other options


def test_nuclei_keep_their_objects(tmp_path, capsys):
    folder = tmp_path / "stage1_train/0a"
    save(folder / "images/0a.png", RNG.integers(0, 256, (4, 8, 4), np.uint8))
    for number in (4, 9):
        save(folder / f"masks/{number}.png", np.equal(TOUCHING, number).astype(np.uint8) * 255)
    run(nuclei, capsys, tmp_path / "stage1_train", tmp_path / "data", "--val", "0", "--objects")
    assert np.array_equal(read_objects(tmp_path / "data/train/objects/0a.png"), np.searchsorted([0, 4, 9], TOUCHING))
    assert np.array_equal(read_mask(tmp_path / "data/train/mask/0a.png"), TOUCHING > 0)


def test_coco_keeps_instances_as_they_are_painted(tmp_path, capsys):
    make_coco(tmp_path)
    arguments = [tmp_path / "train.json", tmp_path / "train", tmp_path / "data", "--val", "0"]
    run(coco, capsys, *arguments, "--objects")
    folder = tmp_path / "data/train"
    mask, objects = read_mask(folder / "mask/000000000001.png"), read_objects(folder / "objects/000000000001.png")
    assert np.array_equal(objects > 0, mask > 0) and objects.max() == 2
    assert {(int(number), int(mask[objects == number][0])) for number in (1, 2)} == {(1, 1), (2, 2)}  # person, cat
    crowd = read_objects(folder / "objects/000000000003.png")
    assert crowd.max() == 1 and (read_mask(folder / "mask/000000000003.png") > 0).sum() > (crowd > 0).sum()
    assert not read_objects(folder / "objects/000000000002.png").any()  # no instances
    assert "--multi-label" in refuse(coco, capsys, tmp_path / "data", *arguments, "--objects", "--multi-label")


@pytest.mark.parametrize("form", FORMS)
def test_annotations_keep_objects(form, tmp_path, capsys):
    """Cat and dog overlap in every form; the smaller dog is on top."""
    MAKERS[form](tmp_path / "source")
    arguments = [annotations, capsys, tmp_path / "source", tmp_path / "data", "--val", "0", "--objects"]
    if form == "voc":
        assert "not objects" in refuse(annotations, capsys, tmp_path / "data", *arguments[2:])
        return
    run(*arguments)
    (path,) = (tmp_path / "data/train/objects").iterdir()
    found = read_objects(path)
    assert len(np.unique(found)) == 3
    assert np.array_equal(found > 0, scene() > 0)
    for value in (1, 2):
        assert len(np.unique(found[scene() == value])) == 1


def test_groups_crowds_and_borders_of_annotations(tmp_path, capsys):
    """Two squares of one group are one object, one that is not is another; what is ignored hides them."""
    squares = {"cell": [(0, 0, 1), (8, 0, 1), (4, 0, None)], "__ignore__": [(9, 2, None)]}
    shapes = [
        labelme_shape(label, [x, y, x + 4, y, x + 4, y + 4, x, y + 4], group_id=group)
        for label, parts in squares.items()
        for x, y, group in parts
    ]
    image = RNG.integers(0, 256, (6, 16, 3), np.uint8)
    save(tmp_path / "source/a.png", image)
    content = labelme_content(shapes, "a.png", 6, 16)
    write_json(tmp_path / "source/a.json", content)
    arguments = [tmp_path / "source", tmp_path / "data", "--val", "0", "--order", "file"]
    run(annotations, capsys, *arguments, "--objects", "--border", "1", "--border-class")
    folder = tmp_path / "data/train"
    assert read_objects(folder / "objects/a.png")[0].tolist() == [1] * 4 + [2] * 4 + [1] * 4 + [0] * 4
    assert read_objects(folder / "objects/a.png")[2].tolist() == [1] * 4 + [2] * 4 + [1] + [0] * 7
    assert read_mask(folder / "mask/a.png")[0].tolist() == [1, 1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 1, 0, 0, 0, 0]
    assert read_mask(folder / "mask/a.png")[2].tolist() == [1, 1, 1, 2, 2, 1, 1, 2, 2, 255, 255, 255, 255, 0, 0, 0]
    assert "2,border," in (tmp_path / "data/classes.csv").read_text()
    refused = refuse(
        annotations, capsys, tmp_path / "new", arguments[0], tmp_path / "new", "--objects", "--multi-label"
    )
    assert "leave one of them out" in refused


@pytest.mark.parametrize("row_major", [False, True])
def test_rows_of_a_table_are_objects(row_major, tmp_path, capsys):
    """The later row is on top: by hand, of 6 rows and 8 columns."""
    arguments = make_table(tmp_path, ["a,1 4,1", "a,3 6,2"], "id,rle,class", "a")
    options = ["--class-column", "class", "--rle-column", "rle", "--objects", *["--row-major"] * row_major]
    run(rle_csv, capsys, *arguments, *options)
    shape = (6, 8) if row_major else (8, 6)
    numbers = np.zeros(48, int)
    numbers[0:4], numbers[2:8] = 1, 2
    expected = numbers.reshape(shape) if row_major else numbers.reshape(shape).T
    for kind, read in (("objects", read_objects), ("mask", read_mask)):
        np.testing.assert_array_equal(read(tmp_path / f"data/train/{kind}/a.png"), expected)
    run(rle_csv, capsys, *arguments, *options, "--border", "1", "--border-class")
    assert set(np.unique(read_mask(tmp_path / "data/train/mask/a.png"))) == ({0, 1, 2, 3} if row_major else {0, 2, 3})
    assert "leave one of them out" in refuse(rle_csv, capsys, tmp_path / "new", *arguments, *options, "--multi-label")


@pytest.mark.parametrize("border", [1, 2])
def test_borders_by_growing_each_object(border):
    objects = np.zeros((30, 30), np.int32)
    for number, centre in enumerate(RNG.integers(0, 30, (12, 2)).tolist(), start=1):
        cv2.circle(objects, centre, 4, number, -1)
    reach = [dilation(objects == number, np.ones((2 * border + 1,) * 2)) for number in np.unique(objects)[1:]]
    assert np.array_equal(near_others(objects, border), (objects > 0) & (np.sum(reach, axis=0) > 1))


def test_boundary_weights_see_the_objects_that_a_border_keeps_apart():
    """By hand: a background pixel between two objects is 1 from one and 2 from the other."""
    bordered = ObjectMasks(border=1).finish((TOUCHING > 0).astype(np.uint8), TOUCHING, "a").mask
    weights = boundary_weights(bordered[..., None], w0=10, sigma=5)[0, :, 0]
    assert weights[3:5].tolist() == pytest.approx([10 * np.exp(-((1 + 2) ** 2) / 50)] * 2)
    assert not boundary_weights((TOUCHING > 0).astype(np.uint8)[..., None], w0=10, sigma=5).any()  # one piece


def test_bad_input(tmp_path, capsys):
    script, *arguments = make_labels(tmp_path)
    output = tmp_path / "data"
    assert "--border -1" in refuse(script, capsys, output, *arguments, "--border", "-1")
    assert "--border-class needs" in refuse(script, capsys, output, *arguments, "--border-class")
    assert "leave --colours" in refuse(script, capsys, output, *arguments, "--values", "0", "1")
    assert "with --numbers" in refuse(script, capsys, output, *arguments[:3], "--objects")
    save(tmp_path / "labels/a.tif", TOUCHING - 1)
    assert "a.tif: a label image holds numbers" in refuse(script, capsys, output, *arguments)
    save(tmp_path / "labels/a.tif", np.where(TOUCHING > 0, np.float32(0.5), np.float32(np.nan)))
    assert "a.tif: a label image holds numbers" in refuse(script, capsys, output, *arguments)
    script, *arguments = make_labels(tmp_path, np.arange(300 * 300, dtype=np.int32).reshape(300, 300))
    assert "89999 objects" in refuse(script, capsys, output, *arguments, "--objects")


def test_label_images_are_whole_numbers(tmp_path):
    path = save(tmp_path / "a.png", RNG.integers(0, 256, (4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="colour picture"):
        read_objects(path)
    path = save(tmp_path / "a.tif", np.float32([[0, 70_000]]))
    assert read_objects(path).tolist() == [[0, 70_000]]
