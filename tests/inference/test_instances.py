"""Objects of a predicted mask: touching discs are separated, holes and empty masks survive, files hold them."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.segmentation import watershed

from data_generators.reading.objects import read_objects
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.image_sources import ImageSource, StackSource
from utils.inference.instances import Instances, distance_inside, divide
from utils.inference.output import MaskOutput
from utils.inference.read_ahead import SourceImage
from utils.inference.sources import VolumeSource


def discs(*circles, size=64):
    mask = np.zeros((size, size), np.uint8)
    for x, y, radius in circles:
        cv2.circle(mask, (x, y), radius, 1, -1)
    return mask


TWO = discs((20, 30, 12), (40, 30, 12))
BY_DISTANCE = "PREDICT.INSTANCES.METHOD=distance"


def instances(*overrides):
    return Instances.from_config(load_config(["OUTPUT.CLASSES=2", *overrides]))


def test_touching_discs_are_separated():
    assert instances("PREDICT.INSTANCES.METHOD=pieces")(TWO).max() == 1
    found = instances(BY_DISTANCE)(TWO)
    assert found.max() == 2 and np.array_equal(found > 0, TWO > 0)
    assert np.bincount(found.ravel())[1:].tolist() == pytest.approx([TWO.sum() / 2] * 2, rel=0.05)
    assert instances(BY_DISTANCE, "PREDICT.INSTANCES.DEPTH=12")(TWO).max() == 1  # no valley is that deep
    assert instances(BY_DISTANCE)(discs((30, 30, 20))).max() == 1


def test_as_scikit_image_floods_from_the_centres():
    centres = [(14, 14), (31, 14), (22, 29), (50, 50)]
    mask = discs(*((x, y, 9) for x, y in centres)) > 0
    distance, markers = distance_inside(mask), np.zeros(mask.shape, int)
    for number, (x, y) in enumerate(centres, start=1):
        markers[y, x] = number
    expected, found = watershed(-distance, markers, mask=mask), divide(mask, distance, 1.0)
    assert found.max() == 4
    same = sum(max(((expected == one) & (found == other)).sum() for other in range(1, 5)) for one in range(1, 5))
    assert same > 0.97 * mask.sum()  # pixels as far from one as from another may go either way


def test_the_probability_divides_where_it_has_a_valley():
    mask = np.ones((1, 7), np.uint8)
    row = np.float32([[0.8, 0.9, 0.7, 0.6, 0.7, 0.8, 0.7]])
    probability = np.stack([1 - row, row], -1)
    by_probability = "PREDICT.INSTANCES.METHOD=probability"
    found = instances(by_probability)(mask, probability)[0].tolist()
    assert found[:3] == [1, 1, 1] and found[4:] == [2, 2, 2] and found[3] in (1, 2)
    assert instances(by_probability, "PREDICT.INSTANCES.DEPTH=0.25")(mask, probability).max() == 1  # 0.2 deep
    one_sigmoid = instances("OUTPUT.CLASSES=1", by_probability)
    assert one_sigmoid(mask, row[..., None]).max() == 2


def test_holes_and_nothing():
    ring = discs((30, 30, 20)) - discs((30, 30, 8))
    found = instances(BY_DISTANCE, "PREDICT.INSTANCES.DEPTH=1")(ring)
    assert found.max() == 1 and np.array_equal(found, ring)
    assert instances(BY_DISTANCE)(np.zeros((5, 5), np.uint8)).max() == 0
    assert instances(BY_DISTANCE)(np.ones((1, 1), np.uint8)).tolist() == [[1]]


def test_classes_are_divided_by_themselves_and_share_a_border():
    labels = np.uint8([[1, 1, 3, 3, 1, 1, 2, 2, 0, 3]])
    found = instances("OUTPUT.CLASSES=4", "PREDICT.INSTANCES.METHOD=pieces", "PREDICT.INSTANCES.BORDER=3")
    objects = found(labels)
    assert objects.tolist() == [[1, 1, 1, 2, 2, 2, 3, 3, 0, 0]]
    assert {index: own.max() for index, own in found.by_class(objects, labels).items()} == {1: 2, 2: 1}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["PREDICT.INSTANCES.DEPTH=2"], "needs PREDICT.INSTANCES.METHOD"),
        (["PREDICT.INSTANCES.METHOD=pieces", "PREDICT.INSTANCES.DEPTH=2"], "is for METHOD=distance"),
        (["PREDICT.INSTANCES.METHOD=probability", "PREDICT.INSTANCES.DEPTH=2"], "below 1"),
        ([BY_DISTANCE, "PREDICT.INSTANCES.BORDER=1"], "is no class beside one of objects: OUTPUT.CLASSES=2"),
        ([BY_DISTANCE, "OUTPUT.CLASSES=3", "OUTPUT.MULTI_LABEL=True"], "lets classes overlap"),
        (["DATASET.VAL.OBJECTS_PATH=x", "OUTPUT.CLASSES=3", "OUTPUT.MULTI_LABEL=True"], "lets classes overlap"),
        (["PREDICT.INSTANCES.METHOD=probability", "EVALUATION.PREDICTIONS=x"], "needs a network"),
    ],
)
def test_bad_settings(overrides, message):
    with pytest.raises(UserError, match=message):
        load_config(["OUTPUT.CLASSES=2", *overrides])


def write(folder, source, labels, *overrides):
    """What predict.py writes for one source whose images have these masks."""
    cfg = load_config(["OUTPUT.CLASSES=2", "PREDICT.PICTURES=False", BY_DISTANCE, *overrides])
    source.frames = len(labels)
    with MaskOutput.from_config(cfg, folder, ["background", "cell"]) as output:
        for frame, mask in enumerate(labels):
            image = np.zeros((*mask.shape, 3), np.uint8)
            probability = np.eye(2, dtype=np.float32)[mask]
            output.add(SourceImage(source, frame, image, None), probability)
    return output


def test_files_counts_and_coco(tmp_path):
    output = write(tmp_path / "out", ImageSource(Path("a.png")), [TWO], "PREDICT.COCO=True")
    objects = cv2.imread(str(tmp_path / "out/objects/a.png"), cv2.IMREAD_UNCHANGED)
    assert objects.dtype == np.uint16 and np.array_equal(objects, instances(BY_DISTANCE)(TWO))
    with open(tmp_path / "out/predictions.csv", newline="") as file:
        assert [row["objects_cell"] for row in csv.DictReader(file)] == ["2"]
    assert len(json.loads((tmp_path / "out/coco_results.json").read_text())) == 2
    assert "objects" in str(output)


def test_stacks_and_more_objects_than_16_bit_can_number(tmp_path):
    write(tmp_path / "stack", StackSource(Path("s.tif")), [TWO, np.zeros_like(TWO)])
    done, pages = cv2.imreadmulti(str(tmp_path / "stack/objects/s.tif"), flags=cv2.IMREAD_UNCHANGED)
    assert done and [page.max() for page in pages] == [2, 0]
    many = np.zeros((520, 520), np.uint8)
    many[::2, ::2] = 1  # 260 x 260 single pixels
    write(tmp_path / "many", ImageSource(Path("m.png")), [many])
    assert not (tmp_path / "many/objects/m.png").exists()
    assert read_objects(tmp_path / "many/objects/m.tif").max() == 260 * 260


def test_volumes_are_refused(tmp_path):
    source = VolumeSource(Path("scan.nii.gz"))
    source.spacing, source.restore = (1, 1, 1), lambda probability, size: probability
    with pytest.raises(UserError, match=r"scan.nii.gz: is a volume, and PREDICT.INSTANCES divides images"):
        write(tmp_path / "out", source, [TWO])
    assert not (tmp_path / "out").exists()
