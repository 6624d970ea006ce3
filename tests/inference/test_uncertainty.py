"""How sure masks are: definitions against hand-worked values and SciPy, and predict.py with them."""

import csv
import itertools
import json

import cv2
import keras
import nibabel as nib
import numpy as np
import pytest
from helpers import assert_one_clear_error, make_weights, run_command
from scipy import stats

from models import build_model, inference_model
from predict import predict
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.class_indices import class_indices
from utils.inference.comparison import mean_dice
from utils.inference.mask_meaning import MaskMeaning
from utils.inference.members import restore_members
from utils.inference.predictor import Predictor
from utils.inference.uncertainty import members as members_module
from utils.inference.uncertainty.cases import CaseSums
from utils.inference.uncertainty.dropout import use_sample, with_active_dropout
from utils.inference.uncertainty.learnt import Curve, learnt_path, save_learnt
from utils.inference.uncertainty.measures import MEASURES
from utils.inference.uncertainty.members import Members, MemberSettings
from utils.inference.writers import review

RNG = np.random.default_rng(0)
UNET = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,6]", "INPUT.HEIGHT=32", "INPUT.WIDTH=32", "VERBOSE=0"]
DROPS = [*UNET, "MODEL.DECODER.DROPOUT=0.3"]


def soft(*shape):
    """Random probabilities of softmax, some of them exactly 0 and 1."""
    found = RNG.dirichlet(np.full(shape[-1], 0.4), shape[:-1]).astype(np.float32)
    found[0, 0] = np.eye(shape[-1])[0]
    return found


def measured(measure, probabilities, **settings):
    """The map of members, as shares."""
    found = Members(MemberSettings(measure, len(probabilities), **settings))
    for probability in probabilities:
        found.add(probability)
    mean, unsure = found.finish()
    np.testing.assert_allclose(mean, np.mean(probabilities, axis=0), atol=1e-6)
    return unsure / members_module.FULL


def test_maps_of_softmax_are_those_of_scipy(monkeypatch):
    monkeypatch.setattr(members_module, "STRIP_VALUES", 60)  # several strips
    members = [soft(9, 7, 3) for _ in range(5)]
    mean = np.mean(members, axis=0, dtype=np.float64)
    of_mean = stats.entropy(mean, axis=-1, base=3)
    of_each = np.mean([stats.entropy(member.astype(np.float64), axis=-1, base=3) for member in members], axis=0)
    step = 1 / members_module.FULL
    np.testing.assert_allclose(measured("entropy", members), of_mean, atol=step)
    np.testing.assert_allclose(measured("mutual_information", members), of_mean - of_each, atol=step)
    spread = 4 * np.var(np.array(members, np.float64), axis=0).mean(axis=-1)
    np.testing.assert_allclose(measured("variance", members), spread, atol=step)


def test_maps_of_sigmoids_are_those_of_each_class():
    members = [RNG.random((6, 5, 2), np.float32) for _ in range(3)]
    mean = np.mean(members, axis=0, dtype=np.float64)

    def entropies(p):
        return stats.entropy(np.stack([p, 1 - p]), axis=0, base=2).mean(axis=-1)

    expected = entropies(mean) - np.mean([entropies(member.astype(np.float64)) for member in members], axis=0)
    found = measured("mutual_information", members, sigmoids=True, multi_label=True)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_surest_and_the_least_sure(measure):
    sure = np.zeros((2, 2, 2), np.float32)
    sure[..., 0] = 1
    assert (measured(measure, [sure, sure]) == 0).all()
    assert (measured(measure, [sure, 1 - sure]) == 1).all()  # the opposite of each other
    one = sure[..., :1]
    assert (measured(measure, [one, 1 - one], sigmoids=True) == 1).all()


def test_unsure_members_that_agree_have_entropy_alone():
    half = np.full((1, 1, 2), 0.5, np.float32)
    values = [float(measured(name, [half, half])[0, 0]) for name in ("entropy", "mutual_information", "variance")]
    assert values == [1, 0, 0]


def test_the_config_has_the_measures():
    schema = json.loads((review.TEMPLATES[1].parents[1] / "configs/schema.json").read_text())
    allowed = schema["properties"]["PREDICT"]["properties"]["UNCERTAINTY"]
    assert all(name in json.dumps(allowed) for name in MEASURES) and set(review.BRIGHTEST) == set(MEASURES)


# --- Numbers of a case ---


def numbers_of(members, meaning, probability=None, unsure=None):
    """Those of `(members, slices, height, width)` labels, slice by slice."""
    sums = CaseSums(meaning, len(members))
    for index in range(members.shape[1]):
        masks = members[:, index]
        mean = np.zeros((*masks.shape[1:], 3)) if probability is None else probability[index]
        sums.add(masks, mean, masks[0], np.zeros(masks.shape[1:], np.uint16) if unsure is None else unsure[index])
    return sums.numbers()


def test_numbers_of_a_volume_are_those_of_all_its_slices_at_once():
    meaning = MaskMeaning(["background", "a", "b"])
    members = RNG.integers(0, 3, (4, 5, 8, 8)).astype(np.uint8)
    members[1:3][members[1:3] == 2] = 0  # a class that two of them lack
    unsure = RNG.integers(0, 65536, (5, 8, 8)).astype(np.uint16)
    found = numbers_of(members, meaning, unsure=unsure)
    pairs = [mean_dice(one, other, meaning) for one, other in itertools.combinations(members, 2)]
    assert found.expected_dice == pytest.approx(np.mean(pairs))
    volumes = np.array([[(member == index).sum() for member in members] for index in (1, 2)])
    assert found.volume_cv == pytest.approx(np.mean(stats.variation(volumes, axis=1)))
    assert found.uncertainty == pytest.approx(unsure[members[0] > 0].mean() / 65535)


def test_numbers_of_overlapping_classes_and_without_a_background():
    overlapping = MaskMeaning(["background", "a", "b"], multi_label=True)
    members = RNG.integers(0, 4, (3, 2, 6, 6)).astype(np.uint8)
    found = numbers_of(members, overlapping)
    pairs = [mean_dice(one.ravel(), other.ravel(), overlapping) for one, other in itertools.combinations(members, 2)]
    assert found.expected_dice == pytest.approx(np.mean(pairs))
    scene = MaskMeaning(["sky", "road"], has_background=False)
    masks = np.array([[[[0, 0, 1, 1]]], [[[0, 1, 1, 1]]]], np.uint8)
    found = numbers_of(masks, scene, np.zeros((1, 1, 4, 2)), np.full((1, 1, 4), 65535, np.uint16))
    assert found.expected_dice == pytest.approx((2 / 3 + 4 / 5) / 2) and found.uncertainty == 1


def test_the_soft_dice_of_one_network():
    """By hand: the mask is where p > 0.5; 2 (0.9 + 0.6) / (0.9 + 0.6 + 0.4 + 2)."""
    sums = CaseSums(MaskMeaning(["background", "a"]), 1)
    probability = np.array([[0.9, 0.6, 0.4, 0.0]])[..., None]
    mask = class_indices(probability)
    sums.add(mask[None], probability, mask, np.zeros((1, 4), np.uint16))
    assert sums.numbers() == (0, None, pytest.approx(3 / 3.9))


def test_a_class_that_may_be_missed_lowers_the_soft_dice():
    """By hand: class 1 has 2 0.8 / (0.8 + 1); class 2 is nowhere the likeliest, and there with 0.3 at most."""
    sums = CaseSums(MaskMeaning(["background", "a", "b"]), 1)
    probability = np.array([[[0.2, 0.8, 0.0], [0.7, 0.0, 0.3]]])
    mask = class_indices(probability)
    sums.add(mask[None], probability, mask, np.zeros((1, 2), np.uint16))
    assert sums.numbers().expected_dice == pytest.approx(1.6 / 1.8 / 1.3)


def test_the_soft_dice_is_near_the_mean_dice_of_truths_drawn_from_the_probabilities():
    probability = np.clip(RNG.normal(0.5, 0.4, (64, 64, 1)), 0.02, 0.98)
    mask = class_indices(probability)
    sums = CaseSums(MaskMeaning(["background", "a"]), 1)
    sums.add(mask[None], probability, mask, np.zeros((64, 64), np.uint16))
    truths = RNG.random((50, 64, 64)) < probability[..., 0]
    dices = [2 * (truth & (mask > 0)).sum() / (truth.sum() + mask.sum()) for truth in truths]
    assert sums.numbers().expected_dice == pytest.approx(np.mean(dices), abs=0.005)


def test_empty_masks():
    meaning = MaskMeaning(["background", "a", "b"])
    nothing = np.zeros((3, 1, 4, 4), np.uint8)
    assert numbers_of(nothing, meaning) == (None, None, 1)  # all members agree on nothing
    one = nothing.copy()
    one[0, 0, 0, 0] = 1  # one of three sees a pixel: of three pairs one agrees
    assert numbers_of(one, meaning).expected_dice == pytest.approx(1 / 3)
    assert numbers_of(one, meaning).volume_cv == pytest.approx(np.sqrt(2))
    alone = CaseSums(meaning, 1)
    probability = np.array([[[0.7, 0.2, 0.1], [0.99, 0.01, 0.0]]])
    alone.add(nothing[:1, 0, :1, :2], probability, nothing[0, 0, :1, :2], np.zeros((1, 2), np.uint16))
    assert alone.numbers() == (None, None, pytest.approx(0.7))


# --- Monte-Carlo dropout ---


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    model = build_model(load_config(DROPS))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(RNG.normal(0, 0.3, layer.moving_mean.shape))
    return inference_model(model, fuse_batch_norm=True)


def sampled(model, images, sample, seed=5):
    use_sample(model, seed, sample)
    return keras.ops.convert_to_numpy(model.predict_on_batch(images))


def test_a_sample_is_one_network_for_every_batch(network):
    active = with_active_dropout(network, "it")
    images = RNG.random((3, 32, 32, 3), np.float32)
    first = sampled(active, images, 0)
    np.testing.assert_array_equal(sampled(active, images, 0), first)  # whatever came between
    assert np.abs(sampled(active, images, 1) - first).max() > 1e-3
    assert np.abs(sampled(active, images, 0, seed=6) - first).max() > 1e-3
    for index, image in enumerate(images):  # alone as in a batch
        np.testing.assert_allclose(sampled(active, image[None], 0)[0], first[index], atol=1e-5)
    plain = keras.ops.convert_to_numpy(network.predict_on_batch(images))
    assert np.abs(plain - first).max() > 1e-3  # the network itself still drops nothing
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(network.predict_on_batch(images)), plain)


def test_what_dropout_leaves_is_scaled():
    """A layer alone: values are 0 or x / (1 - rate), the same places in each image of the batch."""
    image = keras.Input((8, 8, 16))
    active = with_active_dropout(keras.Model(image, keras.layers.Dropout(0.25)(image)), "it")
    found = sampled(active, np.ones((2, 8, 8, 16), np.float32), 0)
    assert set(np.unique(found.round(5))) == {0, np.float32(1 / 0.75).round(5)}
    assert np.array_equal(found[0], found[1]) and abs((found == 0).mean() - 0.25) < 0.05


def test_a_network_without_dropout_is_refused():
    with pytest.raises(UserError, match="has none"):
        with_active_dropout(inference_model(build_model(load_config(UNET))), "it")


# --- predict.py ---


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two networks with dropout, four pictures of two sizes and a scan."""
    folder = tmp_path_factory.mktemp("place")
    for seed, name in enumerate("ab"):
        make_weights(folder, [*DROPS, f"MODEL.WEIGHTS_FILE_NAME={name}"], seed)
    make_weights(folder, [*UNET, "MODEL.WEIGHTS_FILE_NAME=sure"])
    (folder / "images").mkdir()
    for index, side in enumerate((32, 32, 32, 50)):
        picture = cv2.blur(RNG.integers(0, 255, (side, side, 3), np.uint8), (5, 5))
        cv2.imwrite(str(folder / f"images/{index}.png"), picture)
    scan = cv2.blur(RNG.normal(50, 200, (40, 36, 4)).astype(np.float32), (5, 5)).astype(np.int16)
    nib.save(nib.Nifti1Image(scan, np.diag([0.9, 0.8, 3, 1])), folder / "scan.nii.gz")
    return folder


def settings(place, tmp_path, *overrides, inputs="images"):
    base = [f"WORK_DIR={place}", "MODEL.WEIGHTS_FILE_NAME=a", "VERBOSE=0", f"PREDICT.INPUT={inputs}"]
    return load_config([*base, f"PREDICT.OUTPUT_PATH={tmp_path / 'out'}", *overrides])


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_pictures_with_two_networks_and_samples(place, tmp_path):
    members = ["PREDICT.ENSEMBLE=[a,b]", "PREDICT.MC_SAMPLES=2"]
    cfg = settings(place, tmp_path, "PREDICT.UNCERTAINTY=mutual_information", "PREDICT.PROBABILITIES=True", *members)
    output = predict(cfg)
    predictor = Predictor(restore_members(cfg))
    rows = rows_of(output / "predictions.csv")
    for index in (0, 3):  # of the network's size, and in tiles
        row = rows[index]
        image = cv2.cvtColor(cv2.imread(str(place / f"images/{index}.png")), cv2.COLOR_BGR2RGB)
        each = [found[0] for found in predictor.each_member(image[None])]
        assert len(each) == 4
        np.testing.assert_allclose(np.load(output / f"probabilities/{index}.npy"), np.mean(each, axis=0), atol=1e-5)
        unsure = cv2.imread(str(output / f"uncertainty/{index}.png"), cv2.IMREAD_UNCHANGED)
        assert unsure.dtype == np.uint16
        np.testing.assert_allclose(unsure / 65535, measured("mutual_information", each), atol=4e-5)
        pairs = [
            mean_dice(class_indices(one), class_indices(other), MaskMeaning(["background", "class1"]))
            for one, other in itertools.combinations(each, 2)
        ]
        expected = np.mean([1 if pair is None else pair for pair in pairs])
        assert float(row["expected_dice"]) == pytest.approx(expected, abs=2e-4)
        assert row["predicted_dice"] == row["flag"] == ""
    listed = rows_of(output / "review.csv")
    values = [float(row["expected_dice"]) for row in listed]
    assert values == sorted(values) and len(values) == 4 and listed[0]["rank"] == "1"
    page = (output / "review.html").read_text()
    assert page.count("data:image/webp") == 12 and "No mask is flagged" in page


def test_masks_are_those_without_uncertainty(place, tmp_path):
    common = ["PREDICT.TTA=flips", "PREDICT.PROBABILITIES=True"]
    plain = predict(settings(place, tmp_path / "1", *common))
    unsure = predict(settings(place, tmp_path / "2", *common, "PREDICT.UNCERTAINTY=entropy"))
    for index in range(4):
        one, other = (np.load(folder / f"probabilities/{index}.npy") for folder in (plain, unsure))
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_a_volume_has_a_map_on_its_grid(place, tmp_path):
    folder = predict(settings(place, tmp_path, "PREDICT.UNCERTAINTY=entropy", inputs="scan.nii.gz"))
    unsure, scan = nib.load(folder / "uncertainty/scan.nii.gz"), nib.load(place / "scan.nii.gz")
    assert unsure.shape == scan.shape and unsure.get_data_dtype() == np.uint16
    np.testing.assert_allclose(unsure.affine, scan.affine)
    values, raw = unsure.get_fdata(), np.asarray(unsure.dataobj.get_unscaled())
    np.testing.assert_allclose(values, raw / 65535, atol=1e-7)
    assert 0.1 < values.max() <= 1
    rows = rows_of(folder / "predictions.csv")
    assert len(rows) == 4 and len({row["expected_dice"] for row in rows}) == 1
    mask = np.asarray(nib.load(folder / "masks/scan.nii.gz").dataobj)
    assert float(rows[0]["uncertainty"]) == pytest.approx(values[mask > 0].mean(), abs=1e-4)
    assert len(rows_of(folder / "review.csv")) == 1


def test_what_was_learnt_flags_masks(place, tmp_path, capsys):
    cfg = settings(place, tmp_path, "PREDICT.UNCERTAINTY=entropy", "VERBOSE=1", "PREDICT.REVIEW_DICE=0.5")
    members = restore_members(cfg)
    try:
        save_learnt(members, {"image": Curve([0.0, 0.001], [0.0, 0.9])}, {"split": "val"})
        output = predict(cfg)
        rows = rows_of(output / "review.csv")
        assert {row["flag"] for row in rows} <= {"ok", "review"}
        assert all((row["flag"] == "review") == (float(row["predicted_dice"]) < 0.5) for row in rows)
        assert "a predicted Dice below 0.5 are flagged" in capsys.readouterr().out
        predict(settings(place, tmp_path, "PREDICT.UNCERTAINTY=entropy", "VERBOSE=1", "PREDICT.TTA=flips"))
        assert "learnt with PREDICT.TTA=none, not flips" in capsys.readouterr().out
        learnt_path(members).write_text('{"curves": {"image": {"expected": [1, 0], "dice": [0, 1]}}}')
        with pytest.raises(UserError, match="is damaged"):
            predict(cfg)
    finally:
        learnt_path(members).unlink()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["PREDICT.UNCERTAINTY=variance"], ["one network gives one", "PREDICT.TTA"]),
        (["PREDICT.UNCERTAINTY=entropy", "PREDICT.MC_SAMPLES=4", "MODEL.WEIGHTS_FILE_NAME=sure"], ["trained without"]),
        (["PREDICT.MC_SAMPLES=4"], ["needs PREDICT.UNCERTAINTY"]),
        (["PREDICT.UNCERTAINTY=doubt"], ["PREDICT.UNCERTAINTY", "entropy"]),
        (["PREDICT.UNCERTAINTY=entropy", "MODEL.TYPE=classifier"], ["is for masks"]),
    ],
)
def test_what_cannot_be_is_refused(overrides, words, place, tmp_path):
    with pytest.raises(UserError) as error:
        predict(settings(place, tmp_path, *overrides))
    assert all(word in str(error.value) for word in words)
    assert not (tmp_path / "out").exists()


def test_a_refusal_is_one_line(place):
    found = run_command(
        "predict.py", f"WORK_DIR={place}", "MODEL.WEIGHTS_FILE_NAME=a", "PREDICT.UNCERTAINTY=variance",
        "PREDICT.INPUT=images",
    )  # fmt: skip
    assert_one_clear_error(found, "PREDICT.UNCERTAINTY=variance")
