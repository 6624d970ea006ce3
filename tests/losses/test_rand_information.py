"""The scores of the ISBI 2012 challenge: by hand, against scikit-image, and over thresholds."""

import numpy as np
import pytest

from losses.whole_images import ClassMaps
from losses.whole_images.rand_information import RandInformation, rand_information, thin_borders

TWO = np.array([[1, 1, 1, 0, 2, 2, 2]])  # two objects of three pixels and a border
LOG2 = np.log(2)


def check(truth, predicted, **expected):
    assert rand_information(truth, predicted) == pytest.approx(expected)


def test_perfect():
    perfect = dict.fromkeys(("v_rand", "v_rand_split", "v_rand_merge", "v_info", "v_info_split", "v_info_merge"), 1.0)
    check(TWO, TWO, **perfect)
    check(np.ones((2, 2), int), np.ones((2, 2), int), **perfect)  # one object: no entropy at all


def test_one_merge():
    """t = 1/2, 1/2; s = 1; p = 1/2, 1/2: pairs 1/2 of 1/2 true and 1 predicted ones; no mutual information."""
    check(
        TWO,
        np.ones_like(TWO),
        v_rand=0.5 / 0.75,
        v_rand_split=1.0,
        v_rand_merge=0.5,
        v_info=0.0,
        v_info_split=1.0,
        v_info_merge=0.0,
    )


def test_one_split():
    """t = 1/2, 1/2; s = p = 1/3, 1/6, 1/2: H(T) = I = log 2, H(S) = log 3 / 3 + log 6 / 6 + log 2 / 2."""
    h = np.log(3) / 3 + np.log(6) / 6 + LOG2 / 2
    pairs = 1 / 9 + 1 / 36 + 1 / 4
    check(
        TWO,
        np.array([[1, 1, 2, 3, 3, 3, 3]]),
        v_rand=pairs / ((pairs + 0.5) / 2),
        v_rand_split=pairs / 0.5,
        v_rand_merge=1.0,
        v_info=2 * LOG2 / (h + LOG2),
        v_info_split=LOG2 / h,
        v_info_merge=1.0,
    )


def test_pixels_predicted_as_border_are_segments_of_their_own():
    check_border = np.array([[1, 1, 0, 0, 3, 3, 3]])
    alone = np.array([[1, 1, 2, 0, 3, 3, 3]])
    assert rand_information(TWO, check_border) == pytest.approx(rand_information(TWO, alone))
    assert rand_information(TWO, np.zeros_like(TWO))["v_rand_split"] == pytest.approx((6 / 36) / 0.5)


def test_without_true_objects_there_is_no_score():
    assert rand_information(np.zeros((2, 3), int), np.ones((2, 3), int)) is None


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_image(seed):
    metrics = pytest.importorskip("skimage.metrics")
    random = np.random.default_rng(seed)
    truth, predicted = (np.kron(random.integers(low, 6, (9, 9)), np.ones((30, 30), int)) for low in (0, 1))
    inside = truth > 0
    found = rand_information(truth, predicted)
    splits, merges = metrics.variation_of_information(truth[inside], predicted[inside])  # H(S|T), H(T|S) in bits
    assert found["v_info_split"] == pytest.approx(1 - splits / bits(predicted[inside]))
    assert found["v_info_merge"] == pytest.approx(1 - merges / bits(truth[inside]))
    error, *parts = metrics.adapted_rand_error(truth[inside], predicted[inside])
    assert found["v_rand"] == pytest.approx(1 - error, abs=1e-4)  # a pixel makes no pair with itself there
    # Which part is which differs between its documentation and its code; the cases by hand decide.
    assert sorted((found["v_rand_split"], found["v_rand_merge"])) == pytest.approx(sorted(parts), abs=1e-4)


def bits(labels):
    shares = np.unique(labels, return_counts=True)[1] / labels.size
    return -(shares * np.log2(shares)).sum()


def test_borders_are_thinned_to_one_pixel():
    inside = np.zeros((5, 12), bool)
    inside[:, :2] = inside[:, 7:9] = True
    thin = thin_borders(inside)
    assert np.all((thin == 0).sum(1) == 1)  # one line of one pixel, though 5 lay between
    assert np.all(thin[:, 0] == thin[:, 3]) and np.all(thin[:, 8] == thin[:, 11]) and thin[0, 0] != thin[0, 11]
    assert thin_borders(~np.eye(6, dtype=bool))[np.eye(6, dtype=bool)].tolist() == [0] * 6  # a line of one pixel stays
    assert np.all(thin_borders(np.zeros((3, 3), bool)) == 1)
    corners = np.array([[1, 0], [0, 1]], bool)
    assert len(np.unique(thin_borders(corners)[corners])) == 2


def maps(truth, probability, valid=None):
    probability = np.asarray(probability, np.float32)
    valid = np.ones(probability.shape, bool) if valid is None else valid
    return ClassMaps(np.asarray(truth, bool) & valid, (probability > 0.5) & valid, probability, valid)


def test_one_threshold_for_the_set():
    """The first image is merged below 0.55, the second split from 0.35 on."""
    metric, truth = RandInformation(), TWO > 0
    metric.add(maps(truth, [[0.9, 0.9, 0.9, 0.55, 0.9, 0.9, 0.9]]))
    metric.add(maps(truth, [[0.9, 0.35, 0.9, 0.05, 0.9, 0.9, 0.9]]))
    metric.add(maps(np.zeros_like(truth), np.ones(truth.shape)))  # nothing true: left out
    results = metric.results()
    assert results["v_rand_threshold"] in (0.6, 0.7, 0.8)
    assert results["v_rand"][0] == (1.0, 1.0) and 0 < results["v_rand"][1][0] < 1 and results["v_rand"][2] == (0, 0)
    assert results["v_info_merge"][0] == (1.0, 1.0)


def test_ignored_pixels_are_no_objects():
    metric, valid = RandInformation(), TWO != 2
    metric.add(maps(TWO > 0, np.where(TWO > 0, 0.9, 0.1), valid))
    assert metric.results()["v_rand"] == [(1.0, 1.0)]


def test_nothing_to_measure():
    metric = RandInformation()
    metric.add(maps(np.zeros((2, 2)), np.zeros((2, 2))))
    assert metric.results() == {}
