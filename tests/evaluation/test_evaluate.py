"""evaluate.py against counts by hand: any batch size, any number of replicas, volumes, post-processing, bad input."""

import csv
import json
import shutil

import cv2
import numpy as np
import pytest
from helpers import PROJECT, TINY, assert_one_clear_error, run_command
from scipy.ndimage import label
from warm_helpers import run_warm

from calibrate import calibrate
from data_preparation.make_phantom import make_phantom
from data_preparation.preprocess_data import preprocess_data
from evaluate import evaluate
from losses import CHOSEN_METRICS
from models import build_model
from predict import predict
from utils.base.errors import UserError
from utils.checkpoints import restore_config, save_config, save_weights, weights_path
from utils.checkpoints.temperature import load_temperature
from utils.config import load_config

NAME = "model_tiny_unet3plus"
CLASSES = ["OUTPUT.CLASSES=3", "DATA_PREPARATION.LABELS=liver_and_tumour"]
METRICS = ",".join(name for name in CHOSEN_METRICS if name != "rand_information")  # which takes long
LEFT_OUT = ["loss", "channels", "soft_images", "calibration", "curves"]  # of METRICS, what masks cannot have


def leave_weights(folder, *overrides):
    """Random weights and their config, as a training would leave them; a fifth of the pixels is some foreground."""
    import keras

    keras.utils.set_random_seed(3)
    cfg = load_config([f"WORK_DIR={folder}", *TINY, *overrides])
    weights_path(cfg).parent.mkdir(exist_ok=True)
    network = build_model(cfg)
    head = network.get_layer("mask_logits")
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias + 0.5 * (np.arange(len(bias)) == 0)])
    save_weights(network, weights_path(cfg))
    save_config(cfg, weights_path(cfg))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Two training volumes and one for validation, of 9 slices with three classes, and an untrained network."""
    folder = tmp_path_factory.mktemp("untrained")
    make_phantom(folder / "data", volumes_train=2, volumes_val=1, size=48, slices=9)
    preprocess_data(load_config([f"WORK_DIR={folder}", "VERBOSE=0", *TINY, *CLASSES]))
    leave_weights(folder, *CLASSES)
    return folder


def run(folder, *overrides):
    return evaluate(load_config([f"WORK_DIR={folder}", "MODEL.TYPE=tiny_unet3plus", "VERBOSE=0", *overrides]))


def results(folder):
    return json.loads((folder / f"checkpoint/{NAME}.evaluation/evaluation.json").read_text())


def table(folder, name):
    with open(folder / f"checkpoint/{NAME}.evaluation/{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def masks(untrained):
    """Truth and what predict.py writes, `(slice, row, column)`, of the validation volume."""
    cfg = load_config([f"WORK_DIR={untrained}", "MODEL.TYPE=tiny_unet3plus", "VERBOSE=0"])
    predicted = predict(cfg) / "masks"

    def read(path):
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)

    truth = [read(untrained / f"data/val/mask/mask_0_{index}.png") for index in range(9)]
    found = np.stack(truth), np.stack([read(predicted / f"image_0_{index}.png") for index in range(9)])
    assert all(set(np.unique(labels)) == {0, 1, 2} for labels in found)  # nothing below is vacuous
    return found


def test_masks_of_a_folder_have_the_scores_of_the_network_that_predicted_them(untrained, masks, tmp_path, capsys):
    chosen = ["EVALUATION.SURFACE=True", f"EVALUATION.METRICS=[{METRICS}]"]
    expected = run(untrained, *chosen)
    settings = [
        *CLASSES,
        *chosen,
        "EVALUATION.PREDICTIONS=predictions/model_tiny_unet3plus",
        f"EVALUATION.PATH={tmp_path}",
    ]
    found = evaluate(load_config([f"WORK_DIR={untrained}", *settings]))
    left_out = {"loss", "binary_accuracy"} | {
        name for name in expected if name.startswith(("soft_", "v_", "roc_", "pr_", "ece", "brier", "nll"))
    }
    assert set(found) == set(expected) - left_out
    assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-6, nan_ok=True)
    own = json.loads((tmp_path / "model_tiny_unet3plus.evaluation/evaluation.json").read_text())
    network, masked = results(untrained)["splits"]["val"], own["splits"]["val"]
    for region, scores in masked["regions"].items():  # intervals too
        for name, entry in scores.items():
            assert entry == pytest.approx(network["regions"][region][name]), (region, name)
    assert masked["confusion"] == network["confusion"] and own["left_out"] == LEFT_OUT
    assert f"left out, as they need probabilities: {', '.join(LEFT_OUT)}" in capsys.readouterr().out
    report = (tmp_path / "model_tiny_unet3plus.evaluation/report.html").read_text()
    assert "Left out, because they need probabilities" in report and "SHA-256" not in report


def dice(truth, predicted):
    return 2 * (truth & predicted).sum() / (truth.sum() + predicted.sum())


def test_scores_of_images_and_volumes(untrained, masks):
    scores = run(untrained)
    truth, predicted = masks
    for index in (1, 2):
        expected = dice(truth == index, predicted == index)
        assert scores[f"dice_class{index}"] == pytest.approx(expected, abs=1e-6)
        assert scores[f"dice_class{index}"] == scores[f"dice_per_case_class{index}"] == pytest.approx(expected)
    assert scores["dice_foreground"] == pytest.approx(dice(truth > 0, predicted > 0))
    assert {"loss", "dice_coef", "dice", "iou", "iou_class0"} <= set(scores)

    (volume,) = table(untrained, "per_volume")
    assert int(volume["true_class1"]) == (truth == 1).sum() and volume["images"] == "9"
    voxel_ml = (410 / 48) ** 2 * (160 / 9) / 1000
    assert float(volume["true_ml_class2"]) == pytest.approx((truth == 2).sum() * voxel_ml, rel=1e-4)
    error = int((predicted == 1).sum()) - int((truth == 1).sum())
    assert float(volume["volume_error_class1"]) == pytest.approx(error / (truth == 1).sum())
    rows = table(untrained, "per_image")
    assert [int(row["slice"]) for row in rows] == list(range(9))
    for row, one, other in zip(rows, truth, predicted, strict=True):
        assert int(row["common_class2"]) == ((one == 2) & (other == 2)).sum()

    saved = results(untrained)
    assert len(saved["weights_sha256"]) == 64 and saved["splits"]["val"]["scores"] == scores
    confusion = np.array(saved["splits"]["val"]["confusion"])
    assert confusion[1, 2] == ((truth == 1) & (predicted == 2)).sum() and confusion.sum() == truth.size
    assert not list((untrained / f"checkpoint/{NAME}.evaluation").glob(".*"))


def test_any_batch_size_gives_the_same_scores(untrained):
    first, *others = [run(untrained, f"HYPER_PARAMETERS.BATCH_SIZE={size}") for size in (1, 3, 7)]
    assert all(np.isfinite(value) for value in first.values())
    for other in others:
        assert other == pytest.approx(first, abs=1e-6)


MIRRORED = """
import json, sys

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import evaluate
from utils.config import load_config

evaluate.make_strategy = lambda cfg: tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
for size in (1, 3):
    cfg = load_config([*sys.argv[1:], "VERBOSE=0", f"HYPER_PARAMETERS.BATCH_SIZE={size}"])
    print(json.dumps(evaluate.evaluate(cfg)))
"""


@pytest.mark.slow
def test_two_replicas_give_the_scores_of_one(untrained, tmp_path):
    """9 images on two replicas: the last batch does not divide."""
    (tmp_path / "mirrored.py").write_text(MIRRORED)
    done = run_warm(tmp_path / "mirrored.py", f"WORK_DIR={untrained}", "MODEL.TYPE=tiny_unet3plus", PYTHONPATH=PROJECT)
    assert done.returncode == 0, done.stderr
    single = run(untrained)
    for line in done.stdout.splitlines()[-2:]:
        assert json.loads(line) == pytest.approx(single, abs=1e-6)


def test_results_that_cannot_be_written_are_one_line(untrained, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "evaluation.json"))

    monkeypatch.setattr("utils.evaluation.output.write_results", full)
    with pytest.raises(UserError, match=r"evaluation\.json: cannot be written: No space left on device"):
        run(untrained, f"EVALUATION.PATH={tmp_path}")


def test_splits_side_by_side(untrained, capsys):
    cfg = load_config([f"WORK_DIR={untrained}", "MODEL.TYPE=tiny_unet3plus", "EVALUATION.SPLITS=[train,val]"])
    before = cfg.copy()
    scores = evaluate(cfg)
    assert cfg == before  # the caller's config is left alone
    printed, steps = capsys.readouterr()
    said = ["building tiny_unet3plus", "evaluate train  ", "evaluate val  ", "writing the report"]
    assert [line for line in said if f"\n{line}" in f"\n{steps}"] == said
    saved = results(untrained)["splits"]
    assert list(saved) == ["train", "val"] and saved["train"]["scores"] == scores
    assert saved["val"]["scores"] == pytest.approx(run(untrained), abs=1e-6)
    entry = saved["train"]["regions"]["class1"]["dice_per_case"]
    assert entry["cases"] == 2 and entry["low"] < entry["value"] < entry["high"]
    lines = [line.split() for line in printed.splitlines()]
    (first, second) = (line for line in lines if line[:1] == ["class1"] and len(line) >= 6)
    assert first[1] == f"{scores['dice_class1']:.4f}" and second[1] == f"{saved['val']['scores']['dice_class1']:.4f}"
    (mean, _) = (line for line in lines if line[:3] == ["mean", "of", "classes"])
    for column, name in enumerate(("dice", "iou", "precision", "sensitivity"), start=3):
        assert mean[column] == f"{scores[name]:.4f}"
    assert max(map(len, printed.splitlines()[:-2])) <= 80  # all but the paths
    assert "images/s" in printed and "report" not in printed.splitlines()[0]


def test_surfaces_of_volumes(untrained, masks):
    scores = run(untrained, "EVALUATION.SURFACE=True", "EVALUATION.SURFACE_TOLERANCE_MM=20")
    from losses.surface import surface_scores

    truth, predicted = masks
    spacing = (160 / 9, 410 / 48, 410 / 48)
    expected = surface_scores(truth == 1, predicted == 1, spacing, 20)
    for name, value in expected.items():
        assert scores[f"{name}_class1"] == pytest.approx(value, rel=1e-4)
    assert 0 < expected["surface_dice"] < 1
    (volume,) = table(untrained, "per_volume")
    assert float(volume["hd95_mm_class1"]) == pytest.approx(expected["hd95_mm"], rel=1e-4)


def keep_by_hand(labels):
    pieces, count = label(labels > 0)
    sizes = [(pieces == piece).sum() for piece in range(1, count + 1)]
    return np.where(pieces == 1 + int(np.argmax(sizes)), labels, 0)


def test_only_the_largest_component(untrained, masks):
    truth, predicted = masks
    kept = keep_by_hand(predicted)
    assert (kept > 0).sum() < (predicted > 0).sum()
    scores = run(untrained, "EVALUATION.KEEP_LARGEST_COMPONENT=True", "HYPER_PARAMETERS.BATCH_SIZE=5")
    for name in ("dice_class1", "dice_per_case_class1"):
        assert scores[name] == pytest.approx(dice(truth == 1, kept == 1), abs=1e-6)
    scores = run(untrained, "EVALUATION.KEEP_LARGEST_COMPONENT=True", "EVALUATION.VOLUMES=False")
    alone = np.stack([keep_by_hand(labels) if labels.any() else labels for labels in predicted])
    assert (alone != kept).any()
    assert scores["dice_class1"] == pytest.approx(dice(truth == 1, alone == 1), abs=1e-6)
    assert not (untrained / f"checkpoint/{NAME}.evaluation/per_volume.csv").exists()
    assert "volume_error_class1" not in scores


def test_slices_in_any_order(untrained):
    """Two volumes, listed slice by slice: every volume is held until it is complete."""
    names = [f"{volume}_{index}" for index in range(9) for volume in (28, 29)]
    files = {
        kind: [f"data/train/{kind}{'s' * (kind == 'image')}/{kind}_{name}.png" for name in names] for kind in KINDS
    }
    listed = [f"DATASET.VAL.{key}_PATH=[{','.join(files[kind])}]" for kind, key in KINDS.items()]
    options = ["EVALUATION.SURFACE=True", "EVALUATION.KEEP_LARGEST_COMPONENT=True"]
    scattered = run(untrained, *listed, *options)
    rows = table(untrained, "per_image")
    assert [row["image"] for row in rows] == [f"image_{name}.png" for name in names]
    whole = run(untrained, "EVALUATION.SPLITS=[train]", *options)
    assert scattered == pytest.approx(whole, abs=1e-6, nan_ok=True)  # a class that is never predicted


KINDS = {"image": "IMAGES", "mask": "MASK"}


@pytest.mark.parametrize(
    "overrides",
    [["OUTPUT.CLASSES=1"], ["MODEL.TYPE=unet3plus_deepsup_cgm"], ["INPUT.HEIGHT=null", "INPUT.WIDTH=null"]],
)
def test_other_outputs(phantom, tmp_path, overrides):
    shutil.copytree(phantom / "data", tmp_path / "data")
    any_size = ["HYPER_PARAMETERS.BATCH_SIZE=1", "loss=cce_dice"] if "INPUT.WIDTH=null" in overrides else []
    settings = [f"MODEL.WEIGHTS_FILE_NAME={NAME}", *overrides, *any_size]
    leave_weights(tmp_path, *settings)
    typed = [f"WORK_DIR={tmp_path}", *TINY[:1], *settings, "VERBOSE=0"]
    scores = evaluate(load_config(typed))
    assert 0 <= scores["dice_class1"] <= 1 and scores["loss"] > 0
    assert ("presence_accuracy" in scores) == ("cgm" in overrides[0])


def test_a_missing_slice_through_the_command(untrained, tmp_path):
    shutil.copytree(untrained, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / f"checkpoint/{NAME}.evaluation", ignore_errors=True)
    for path in ("images/image_0_4.png", "mask/mask_0_4.png"):
        (tmp_path / "copy/data/val" / path).unlink()
    result = run_warm("evaluate.py", f"WORK_DIR={tmp_path / 'copy'}", TINY[0])
    assert_one_clear_error(result, "volume 0", "slice 4", "EVALUATION.VOLUMES=False")
    assert not (tmp_path / "copy" / f"checkpoint/{NAME}.evaluation").exists()


def test_spacing_that_is_missing_names_the_key(untrained, tmp_path):
    shutil.copytree(untrained, tmp_path / "copy")
    (tmp_path / "copy/data/val/manifest/volume-0.json").unlink()
    with pytest.raises(UserError, match=r"volume-0\.json.*EVALUATION\.SPACING_MM"):
        run(tmp_path / "copy", "EVALUATION.SURFACE=True")
    scores = run(tmp_path / "copy", "EVALUATION.SURFACE=True", "EVALUATION.SPACING_MM=[5,1,1]")
    assert scores["hd95_mm_class1"] > 0 and "volume_error_ml_class1" in scores


MEMORY = """
import resource, sys

from evaluate import evaluate
from losses import CHOSEN_METRICS
from utils.config import load_config

evaluate(load_config(sys.argv[1:]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("surface", [False, True])
def test_memory_is_flat_from_100_to_2000_images(tmp_path, surface):
    """2,000 images of 128x128 and their masks would be 330 MB as the network sees them."""
    random, peaks = np.random.default_rng(0), []
    (tmp_path / "memory.py").write_text(MEMORY)
    for images in (100, 2000):
        folder = tmp_path / str(images)
        for kind in ("images", "mask"):
            (folder / f"data/val/{kind}").mkdir(parents=True)
        for index in range(images):
            name = f"{index // 20:03}_{index % 20:02}.png"
            picture = random.integers(0, 255, (128, 128), np.uint8)
            cv2.imwrite(str(folder / f"data/val/images/image_{name}"), picture)
            cv2.imwrite(str(folder / f"data/val/mask/mask_{name}"), (cv2.blur(picture, (9, 9)) > 130).astype(np.uint8))
        size = ["INPUT.HEIGHT=128", "INPUT.WIDTH=128"]
        leave_weights(folder, *size)
        options = [f"EVALUATION.SURFACE={surface}", "EVALUATION.SPACING_MM=[2,1,1]", "EVALUATION.GALLERY=50"]
        done = run_command(
            tmp_path / "memory.py", f"WORK_DIR={folder}", TINY[0], "VERBOSE=0", *options, PYTHONPATH=PROJECT
        )
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout.splitlines()[-1]))
    print(f"peak memory {peaks[0]:.0f} MiB for 100 images, {peaks[1]:.0f} MiB for 2,000")
    assert peaks[1] - peaks[0] < 80


@pytest.mark.slow
def test_calibration_reaches_scores_and_predictions_and_leaves_weights_and_masks_as_they_are(untrained, tmp_path):
    shutil.copytree(untrained, tmp_path / "work", ignore=shutil.ignore_patterns("*.evaluation", "predictions"))
    work, chosen = tmp_path / "work", "EVALUATION.METRICS=[confusion,calibration]"
    settings = [f"WORK_DIR={work}", "MODEL.TYPE=tiny_unet3plus", "VERBOSE=0", "PREDICT.PROBABILITIES=True"]
    weights = work / f"checkpoint/{NAME}.weights.h5"
    content = weights.read_bytes()

    def probabilities(*overrides):
        folder = predict(load_config([*settings, "PREDICT.OVERWRITE=True", *overrides]))
        found = np.stack([np.load(path) for path in sorted(folder.rglob("*.npy"))])
        masks = [path.read_bytes() for path in sorted((folder / "masks").iterdir())]
        return found, masks

    before, (raw, raw_masks) = run(work, chosen), probabilities()
    after = calibrate(load_config(settings))
    temperature = load_temperature(restore_config(load_config(settings)))
    scores, (scaled, masks) = run(work, chosen), probabilities()
    assert temperature is not None and abs(temperature.values[0] - 1) > 0.1  # nothing below is vacuous
    np.testing.assert_allclose(scaled, temperature.scale(raw), atol=1e-5)
    assert masks == raw_masks and weights.read_bytes() == content
    # All pixels were fitted: what calibrate.py printed is what evaluate.py measures.
    assert {name: scores[name] for name in after} == pytest.approx(after, abs=1e-4)
    assert scores["nll"] < before["nll"] and scores["dice"] == before["dice"] and scores["loss"] == before["loss"]
    off, _ = probabilities("TEMPERATURE.APPLY=False")
    np.testing.assert_array_equal(off, raw)
    folder = work / f"checkpoint/{NAME}.evaluation"
    report = (folder / "report.html").read_text()
    assert "Reliability diagrams" in report and f"Temperature applied: {temperature}" in report
    saved = json.loads((folder / "evaluation.json").read_text())["splits"]["val"]["before_temperature"]["scores"]
    assert saved == pytest.approx({name: before[name] for name in saved}, abs=1e-6)


def test_probabilities_are_kept_with_those_of_flips_and_bad_wishes_are_refused_at_once(untrained, tmp_path):
    """What is kept has the scores of the evaluation; flips are the mean over four turned images."""
    from utils.choice.counts import Candidate, Counts
    from utils.choice.kept_runs import find_kept_runs
    from utils.choice.scores import score_of

    scores = run(
        untrained, "EVALUATION.KEEP_PROBABILITIES=flips", "EVALUATION.VOLUMES=False", f"EVALUATION.PATH={tmp_path}"
    )
    (kept,) = find_kept_runs([str(next(tmp_path.glob("*.evaluation")))], None)
    counts = Counts([kept])
    counts.add([Candidate((0,)), Candidate((0,), "flips")])
    expected = [scores[f"dice_per_case_class{index}"] for index in kept.kept.classes]
    assert kept.kept.tta == ("none", "flips") and score_of("dice_per_case", counts[Candidate((0,))]) == pytest.approx(
        sum(expected) / len(expected)
    )
    image = next(iter(kept.kept.cases.values()))[0].read(["none", "flips"])
    assert not np.array_equal(image["none"], image["flips"]) and image["truth"].shape == image["none"].shape[:2]
    (tmp_path / "groups.csv").write_text("case,site\nother,a\n")
    for overrides, words in (
        ([f"EVALUATION.GROUPS={tmp_path}/groups.csv"], "have no group"),
        (["EVALUATION.KEEP_PROBABILITIES=True", "EVALUATION.PREDICTIONS=masks"], "keeps those of a network"),
        (["EVALUATION.GROUPS=groups.csv", "MODEL.TYPE=classifier", "OUTPUT.CLASSES=2"], "is for masks"),
    ):
        with pytest.raises(UserError, match=words):
            run(untrained, *overrides)
