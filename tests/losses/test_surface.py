"""Surface distances against brute force over all pairs of border voxels, and by hand."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from losses.surface import border, surface_distances, surface_scores

REFERENCES = Path(__file__).parents[1] / "references"


def brute_border(shape):
    """Coordinates `(voxels, 3)` of voxels with a face neighbour outside, found by looking at each."""
    found = []
    for voxel in zip(*np.nonzero(shape), strict=True):
        for axis, step in itertools.product(range(3), (-1, 1)):
            near = list(voxel)
            near[axis] += step
            if not 0 <= near[axis] < shape.shape[axis] or not shape[tuple(near)]:
                found.append(voxel)
                break
    return np.array(found)


def brute_scores(truth, prediction, spacing, tolerance):
    a, b = (brute_border(shape) * np.array(spacing) for shape in (truth, prediction))
    distances = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    there, back = distances.min(1), distances.min(0)
    both = np.concatenate([there, back])
    return {
        "hd_mm": max(both),
        "hd95_mm": np.percentile(both, 95),
        "assd_mm": both.mean(),
        "surface_dice": ((there <= tolerance + 1e-9).sum() + (back <= tolerance + 1e-9).sum()) / len(both),
    }


def random_shape(random, size):
    """A union of boxes with some voxels flipped: pieces, holes and parts at the edge of the volume."""
    shape = np.zeros(size, bool)
    for _ in range(random.integers(1, 4)):
        low = [random.integers(0, side - 1) for side in size]
        high = [random.integers(start + 1, side + 1) for start, side in zip(low, size, strict=True)]
        shape[tuple(map(slice, low, high))] = True
    return shape ^ (random.random(size) < 0.02)


@pytest.mark.parametrize("seed", range(50))
def test_random_shapes_against_brute_force(seed):
    random = np.random.default_rng(seed)
    size = tuple(random.integers(2, 11, 3))
    truth, prediction = random_shape(random, size), random_shape(random, size)
    if not truth.any() or not prediction.any():
        truth[0, 0, 0] = prediction[-1, -1, -1] = True
    spacing = tuple(random.uniform(0.4, 5, 3))
    tolerance = random.uniform(0, 6)
    found = surface_scores(truth, prediction, spacing, tolerance)
    assert found == pytest.approx(brute_scores(truth, prediction, spacing, tolerance), abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_the_values_of_medpy_and_monai(seed):
    """`tests/references/README.md` says how they were made."""
    random = np.random.default_rng(seed)
    truth, prediction = (random_shape(random, (9, 14, 16)) for _ in range(2))
    found = surface_scores(truth, prediction, (2.5, 0.8, 1.0), 2.0)
    with np.load(REFERENCES / "surface.npz") as file:
        assert [found[name] for name in ("hd_mm", "hd95_mm", "assd_mm")] == pytest.approx(file["medpy"][seed], 1e-6)
        assert [found[name] for name in ("hd_mm", "assd_mm", "surface_dice")] == pytest.approx(
            file["monai"][seed], 1e-6
        )


def test_two_voxels_by_hand():
    truth, prediction = np.zeros((3, 4, 5), bool), np.zeros((3, 4, 5), bool)
    truth[0, 0, 0] = prediction[0, 3, 4] = True
    # 3 rows of 1 mm and 4 columns of 1 mm: 5 mm
    expected = {"hd_mm": 5, "hd95_mm": 5, "assd_mm": 5, "surface_dice": 0}
    assert surface_scores(truth, prediction, (9, 1, 1), 4.9) == expected
    assert surface_scores(truth, prediction, (9, 1, 1), 5)["surface_dice"] == 1
    assert surface_scores(truth, prediction, (9, 2, 2), 5)["hd95_mm"] == 10
    prediction = np.roll(truth, 2, axis=0)
    assert surface_scores(truth, prediction, (2.5, 1, 1), 1)["assd_mm"] == 5


def test_several_tolerances_are_each_what_one_alone_is():
    random = np.random.default_rng(1)
    truth, prediction = (random_shape(random, (6, 7, 8)) for _ in range(2))
    found = surface_scores(truth, prediction, (3, 1, 1), [2, 0, 1.5])
    alone = [surface_scores(truth, prediction, (3, 1, 1), limit)["surface_dice"] for limit in (2, 0, 1.5)]
    assert [found[name] for name in ("surface_dice", "surface_dice_0mm", "surface_dice_1.5mm")] == alone
    assert alone[1] < alone[2] < alone[0] < 1


def test_equal_shapes_have_no_distance():
    shape = random_shape(np.random.default_rng(3), (6, 7, 8))
    assert surface_scores(shape, shape, (3, 1, 1), 0) == {"hd_mm": 0, "hd95_mm": 0, "assd_mm": 0, "surface_dice": 1}


def test_the_border_of_a_cube_is_its_hull():
    cube = np.zeros((7, 7, 7), bool)
    cube[1:6, 1:6, 1:6] = True
    assert border(cube).sum() == 5**3 - 3**3
    assert border(np.ones((5, 5, 5), bool)).sum() == 5**3 - 3**3  # beyond the volume is outside


def test_an_empty_shape_has_no_distance():
    shape, empty = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    for pair in ((shape, empty), (empty, shape), (empty, empty)):
        with pytest.raises(ValueError, match="not empty"):
            surface_distances(*pair, (1, 1, 1))


def test_the_hausdorff_distance_is_the_largest_distance_of_scipy():
    random = np.random.default_rng(2)
    truth, found = random.random((2, 4, 5, 6)) < 0.3
    points = [np.argwhere(border(shape)) * [3.0, 1.0, 2.0] for shape in (truth, found)]
    expected = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
    assert surface_scores(truth, found, (3, 1, 2), 1)["hd_mm"] == pytest.approx(expected)
    assert surface_scores(truth, truth, (3, 1, 2), 1)["hd_mm"] == 0
