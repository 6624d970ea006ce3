"""Which images to label next: greedy k-centre on encoder features."""

import itertools

import cv2
import numpy as np
import pytest
from helpers import make_weights

from models import build_model, inference_model
from models.encoders.deepest import encoder_features
from predict import predict
from utils.base.files import read_list
from utils.config import load_config
from utils.inference.find_sources import find_sources
from utils.inference.uncertainty.selection import choose_centres, select_next

RNG = np.random.default_rng(0)
UNET = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,6]", "INPUT.HEIGHT=32", "INPUT.WIDTH=32", "VERBOSE=0"]


def radius(features, chosen):
    """How far the farthest row is from the nearest chosen one."""
    return np.linalg.norm(features[:, None] - features[list(chosen)], axis=2).min(axis=1).max()


def test_centres_are_at_most_twice_as_far_as_the_best():
    features = RNG.normal(size=(12, 3))
    best = min(radius(features, chosen) for chosen in itertools.combinations(range(12), 4))
    chosen = choose_centres(features, 4)
    assert chosen[0] == 0 and len(set(chosen)) == 4 and radius(features, chosen) <= 2 * best


def test_equal_rows_and_too_few():
    assert sorted(choose_centres(np.zeros((3, 2)), 3)) == [0, 1, 2]
    assert sorted(choose_centres(np.arange(4.0)[:, None], 9)) == [0, 1, 2, 3]


def test_unsure_images_that_differ():
    """Of 20 images the 10 least sure are the pool; among them 2 far from each other."""
    expected = np.linspace(0.1, 1, 20)[::-1]  # the last is the least sure
    asked = []

    def features_of(numbers):
        asked.extend(numbers)
        return np.array([[float(number == 12)] for number in numbers])

    assert select_next(expected, 2, features_of) == [19, 12]
    assert asked == list(range(19, 9, -1))
    assert select_next(expected[:2], 5, features_of) == [1, 0]


@pytest.mark.parametrize(
    ("overrides", "channels"),
    [
        (["MODEL.TYPE=unet3plus_deepsup_cgm", "MODEL.FILTERS=[4,6,8]"], 8),
        (["MODEL.TYPE=conv_deconv", "MODEL.FILTERS=[4,6,8]"], 8),
        (["MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=mobilenetv2"], 320),
    ],
)
def test_features_are_the_mean_of_the_coarsest_map(overrides, channels):
    model = build_model(load_config([*overrides]), size=(64, 64))
    images = RNG.random((2, 64, 64, 3), np.float32)
    fused = encoder_features(inference_model(model, fuse_batch_norm=True)).predict_on_batch(images)
    assert fused.shape == (2, channels) and np.std(fused) > 0
    if model.name != "unet":  # of a backbone that takes seconds, the fused network alone
        plain = encoder_features(inference_model(model)).predict_on_batch(images)
        np.testing.assert_allclose(fused, plain, atol=1e-4)


def test_predict_writes_the_list(tmp_path, capsys):
    make_weights(tmp_path, UNET)
    (tmp_path / "images").mkdir()
    for index, side in enumerate((32, 32, 40, 32)):
        cv2.imwrite(str(tmp_path / f"images/{index}.png"), RNG.integers(0, 255, (side, side, 3), np.uint8))
    ask = ["PREDICT.UNCERTAINTY=entropy", "PREDICT.SELECT=2", "PREDICT.INPUT=images", f"WORK_DIR={tmp_path}"]
    output = predict(load_config([*UNET, *ask]))
    chosen = read_list(output / "select.txt")
    assert len(chosen) == 2 and all(path.parent == tmp_path / "images" for path in chosen)
    assert "2 of 4 to label next\n" in capsys.readouterr().out
    again = load_config([*UNET, f"WORK_DIR={tmp_path}", f"PREDICT.INPUT={output / 'select.txt'}"])
    assert [source.path for source in find_sources(again)] == chosen
