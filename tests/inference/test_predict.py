"""predict.py on what users have: scans, stacks, images of any size, bad files; tiles, ensembles, postprocessing."""

import csv
import json

import cv2
import nibabel as nib
import numpy as np
import pytest
from helpers import TINY, make_weights, run_command
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from omegaconf import OmegaConf
from warm_helpers import run_warm

from data_preparation.scans.slices import window_slice
from predict import predict
from utils.base import rle
from utils.base.errors import PartlyDone, UserError
from utils.base.registry import load_object
from utils.config import load_config
from utils.inference.class_indices import class_indices
from utils.inference.find_sources import find_sources
from utils.inference.members import restore_members
from utils.inference.postprocessing import postprocess
from utils.inference.predictor import Predictor
from utils.inference.sliding_window import mirror_indices, place_tiles, predict_sliding_window
from utils.inference.test_time_augmentation import TRANSFORMS, mean_over_transforms
from utils.inference.writers import LABEL_FORMATS, MASK_FORMATS, Writer

WEIGHTS = "model_tiny_unet3plus"
UNET = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,6,8]", "INPUT.HEIGHT=48", "INPUT.WIDTH=48", "VERBOSE=0"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return folder, make_weights(folder, [*TINY, "VERBOSE=0"])


def run(folder, tmp_path, *overrides):
    return predict(
        load_config([f"WORK_DIR={folder}", TINY[0], "VERBOSE=0", f"PREDICT.OUTPUT_PATH={tmp_path / 'out'}", *overrides])
    )


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PLS", "SAR", "ILA"])
def test_a_volume_comes_back_on_its_own_grid(axes, tiny, tmp_path):
    """Labels, affine, header and shape, against a direct computation on the radiological view."""
    folder, model = tiny
    values = (
        np.random.default_rng(1).normal(20, 150, (60, 52, 6)).astype(np.int16)
    )  # rows back, columns left, slices up
    values = cv2.blur(values.astype(np.float32), (9, 9)).astype(np.int16)
    affine = nib.affines.from_matvec(np.array([[0, -0.9, 0], [-0.8, 0, 0], [0, 0, 2.5]]), [20, 30, -40])
    turn = ornt_transform(axcodes2ornt("PLS"), axcodes2ornt(axes))
    stored = nib.Nifti1Image(apply_orientation(values, turn), affine @ inv_ornt_aff(turn, values.shape))
    stored.header["descrip"] = b"kept"
    assert "".join(nib.aff2axcodes(stored.affine)) == axes
    nib.save(stored, tmp_path / "scan.nii.gz")

    output = run(folder, tmp_path, f"PREDICT.INPUT={tmp_path / 'scan.nii.gz'}", "PREDICT.PROBABILITIES=True")
    found = nib.load(output / "masks/scan.nii.gz")
    assert found.shape == stored.shape and found.get_data_dtype() == np.uint8
    np.testing.assert_allclose(found.affine, stored.affine, atol=1e-5)
    assert found.header["descrip"] == stored.header["descrip"]
    np.testing.assert_allclose(found.header.get_zooms(), stored.header.get_zooms())

    slices = [window_slice(np.ascontiguousarray(values[:, :, i]), -200, 250, "window") for i in range(6)]
    slices = [cv2.resize(pixels, (48, 48), interpolation=cv2.INTER_AREA) for pixels in slices]
    images = np.stack([np.stack([slices[max(i - 1, 0)], slices[i], slices[min(i + 1, 5)]], -1) for i in range(6)])
    expected = model.predict(images / np.float32(255), verbose=0)
    expected = np.stack([cv2.resize(one, (52, 60), interpolation=cv2.INTER_LINEAR) for one in expected], axis=2)
    got = nib.load(output / "probabilities/scan.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_allclose(got, apply_orientation(expected, turn), atol=2e-5)
    sure = abs(expected[..., 1] - 0.5) > 1e-4
    labels = apply_orientation(np.asarray(found.dataobj), ornt_transform(axcodes2ornt(axes), axcodes2ornt("PLS")))
    assert sure.mean() > 0.9 and (labels == expected.argmax(-1))[sure].all()
    assert len(list((output / "pictures").iterdir())) == 6


def test_cropped_slices_come_back_in_their_place(tmp_path):
    make_weights(tmp_path, [*TINY, "DATA_PREPARATION.RESIZE_METHOD=crop_or_pad"])
    nib.save(nib.Nifti1Image(np.zeros((60, 40, 3), np.int16), np.eye(4)), tmp_path / "s.nii")
    output = run(tmp_path, tmp_path, f"PREDICT.INPUT={tmp_path / 's.nii'}", "PREDICT.PROBABILITIES=True")
    got = nib.load(output / "probabilities/s.nii.gz").get_fdata()
    assert got.shape == (60, 40, 3, 2)
    assert (got[:6, ..., 0] == 1).all() and (got[54:, ..., 1] == 0).all() and (got[6:54, ..., 1] > 0).all()


def test_a_folder_of_pictures_and_stacks_with_bad_files_among_them(tiny, tmp_path):
    folder, model = tiny
    images = tmp_path / "images"
    images.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (5, 48, 48), np.uint8)
    for index in (0, 1):
        cv2.imwrite(str(images / f"{index}.png"), pixels[index])
    cv2.imwritemulti(str(images / "stack.tif"), list(pixels[2:]))
    (images / "broken.png").write_bytes(b"no picture")
    (images / "cut.png").write_bytes((images / "0.png").read_bytes()[:200])
    (images / "bad.nii").write_bytes(b"nothing")
    cv2.imwritemulti(str(images / "channels.tif"), [np.zeros((48, 48), np.float32)] * 2)
    result = run_warm(
        "predict.py", f"WORK_DIR={folder}", TINY[0], f"PREDICT.INPUT={images}", "PREDICT.RLE=True", "PREDICT.COCO=True",
        f"PREDICT.OUTPUT_PATH={tmp_path / 'out'}", "OUTPUT.CLASS_NAMES=[background,liver]",
    )  # fmt: skip
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stderr
    listed = result.stderr.split("Error: ")[1].splitlines()
    assert listed[0] == "4 of 7 could not be predicted:" and len(listed) == 5
    assert all(name in result.stderr for name in ("broken.png", "cut.png", "bad.nii", "channels.tif"))

    output = tmp_path / "out" / WEIGHTS
    seen = np.repeat(pixels[..., None], 3, axis=-1) / np.float32(255)
    expected = model.predict(seen, verbose=0).argmax(-1)
    masks = [cv2.imread(str(output / f"masks/{index}.png"), cv2.IMREAD_UNCHANGED) for index in (0, 1)]
    masks += cv2.imreadmulti(str(output / "masks/stack.tif"), flags=cv2.IMREAD_UNCHANGED)[1]
    assert (np.stack(masks) == expected).mean() > 0.999
    with open(output / "predictions.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["index"] for row in rows] == ["", "", "0", "1", "2"]
    assert [int(row["area_liver"]) for row in rows] == [int((mask == 1).sum()) for mask in masks]
    assert all(0.5 <= float(row["confidence"]) <= 1 for row in rows)
    with open(output / "rle.csv") as file:
        texts = {row["ImageId"]: row["EncodedPixels"] for row in csv.DictReader(file)}
    assert np.array_equal(rle.decode(texts["stack_1"], 48, 48), masks[3])
    from pycocotools import mask as coco

    drawn = np.zeros((48, 48), np.uint8)
    for entry in json.loads((output / "coco_results.json").read_text()):
        if entry["image_id"] == 1:
            drawn += coco.decode(entry["segmentation"])
    assert np.array_equal(drawn, masks[1])


def test_images_of_8_and_16_bit_in_one_folder(tiny, tmp_path):
    """They have the same values in [0, 1], so they have the same probabilities."""
    folder, _ = tiny
    pixels = np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), pixels)
    cv2.imwrite(str(tmp_path / "images/b.png"), pixels.astype(np.uint16) * 257)
    options = ["PREDICT.PROBABILITIES=True", "HYPER_PARAMETERS.BATCH_SIZE=2"]
    output = run(folder, tmp_path, f"PREDICT.INPUT={tmp_path / 'images'}", *options)
    first, other = (np.load(output / f"probabilities/{name}.npy") for name in "ab")
    assert first.std() > 1e-3
    np.testing.assert_allclose(other, first, atol=1e-6)


def test_every_format_has_its_key_and_its_writer():
    cfg = load_config([])
    for formats in (MASK_FORMATS, LABEL_FORMATS):
        for name, row in formats.items():
            assert row.key is None or OmegaConf.select(cfg.PREDICT, row.key) in (True, False, None), name
            assert issubclass(load_object(row.writer), Writer)


def test_only_what_is_asked_for_is_written(tiny, tmp_path, capsys):
    folder, _ = tiny
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 48), np.uint8))
    options = [f"PREDICT.INPUT={tmp_path / 'a.png'}", f"PREDICT.OUTPUT_PATH={tmp_path / 'out'}"]
    options += ["PREDICT.PICTURES=False", "PREDICT.RLE=True"]
    cfg = load_config([f"WORK_DIR={folder}", TINY[0], "VERBOSE=0", *options])
    before = cfg.copy()
    output = predict(cfg)
    assert cfg == before  # the caller's config is left alone
    assert {path.name for path in output.iterdir()} == {"masks", "predictions.csv", "rle.csv"}
    assert f"Predicted 1 of 1: masks, predictions.csv and rle.csv in {output}" in capsys.readouterr().out


def test_the_disk_is_waited_for_once(tiny, tmp_path, monkeypatch):
    """Once for all masks and pictures, while there is no table yet that says that they are there; then for it."""
    folder, _ = tiny
    (tmp_path / "images").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"images/{number}.png"), np.full((40, 40, 3), 60 * number, np.uint8))
    waits = []

    def seen(name):
        return lambda *_: waits.append((name, len(list(tmp_path.glob("out/*/predictions.csv")))))

    monkeypatch.setattr("os.sync", seen("all"))
    monkeypatch.setattr("os.fsync", seen("one"))
    run(folder, tmp_path, f"PREDICT.INPUT={tmp_path / 'images'}")
    assert len(list(tmp_path.glob("out/*/pictures/*.png"))) == 3
    assert waits == [("all", 0), ("one", 0)]


def test_an_image_in_memory_as_predict_sees_it(tiny, tmp_path):
    folder, _ = tiny
    image = np.random.default_rng(0).integers(0, 255, (60, 70, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    output = run(folder, tmp_path, f"PREDICT.INPUT={tmp_path / 'a.png'}", "PREDICT.PROBABILITIES=True")
    predictor = Predictor(restore_members(load_config([f"WORK_DIR={folder}", TINY[0]])))
    expected = np.load(output / "probabilities/a.npy")
    np.testing.assert_allclose(predictor.predict_image(image), expected, atol=1e-6)


def test_labels_beside_their_volumes_are_no_scans(tmp_path, capsys):
    names = ["segmentation-1.nii", "segmentation-2.nii.gz", "segmentation-9.nii", "volume-1.nii.gz", "volume-2.nii.gz"]
    for name in names:
        (tmp_path / name).write_bytes(b"")

    def found(value):
        return [source.path.name for source in find_sources(load_config([f"WORK_DIR={tmp_path}", value]))]

    for value in (f"PREDICT.INPUT={tmp_path}", f"PREDICT.INPUT='{tmp_path}/*.nii*'"):
        assert found(value) == names[2:]  # no volume-9
        (note,) = capsys.readouterr().err.splitlines()
        assert f"skipped 2 files, the labels of volumes beside them, such as {tmp_path / names[0]}." in note
    assert found(f"PREDICT.INPUT='{tmp_path}/seg*'") == names[:3]
    assert found(f"PREDICT.INPUT=[{tmp_path / names[0]},{tmp_path / names[3]}]") == [names[0], names[3]]
    assert capsys.readouterr().err == ""


def test_nothing_to_predict(tiny, tmp_path):
    folder, _ = tiny
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"nothing was predicted:\n.*a\.png") as error:
        run(folder, tmp_path, f"PREDICT.INPUT={tmp_path / 'a.png'}")
    assert error.value.exit_code == 2 and PartlyDone.exit_code == 1
    (tmp_path / "empty").mkdir()
    for value, words in {
        "empty": "contains no images",
        "gone": "no such file or folder",
        "'*.jpg'": "nothing matches",
    }.items():
        with pytest.raises(UserError, match=words):
            run(folder, tmp_path, f"PREDICT.INPUT={value}", f"WORK_DIR={tmp_path}", *absolute(folder))


def absolute(folder):
    return [f"CALLBACKS.MODEL_CHECKPOINT.PATH={folder / 'checkpoint'}"]


def test_a_name_that_is_too_long_for_its_outputs_costs_that_file_only(tiny, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    longest = {"a" * 251: ".png", "x" * 251: ".tif", "z": ".png"}  # pictures of a stack have longer names than itself
    for name, ending in longest.items():
        cv2.imwritemulti(str(images / f"{name}{ending}"), [np.zeros((48, 48), np.uint8)] * (1 + (ending == ".tif")))
    with pytest.raises(PartlyDone, match=r"1 of 3 could not be predicted:\n.*x\.tif: a name .* would be too long"):
        run(tiny[0], tmp_path, f"PREDICT.INPUT={images}")
    masks = {path.name for path in (tmp_path / "out" / WEIGHTS / "masks").iterdir()}
    assert {f"{'a' * 251}.png", "z.png"} <= masks


def test_earlier_output_is_kept_unless_it_may_be_replaced(tiny, tmp_path, capsys):
    folder, _ = tiny
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 48), np.uint8))
    pattern = f"PREDICT.INPUT='{tmp_path}/*.png'"
    for number in range(3):
        output = run(folder, tmp_path, pattern, "PREDICT.PICTURES=False")
        (output / "note.txt").write_text(str(number))
    names = {WEIGHTS, f"{WEIGHTS}.previous1"}
    assert {path.name for path in output.parent.iterdir()} == names
    assert (output.parent / f"{WEIGHTS}.previous1" / "note.txt").read_text() == "1"
    printed = capsys.readouterr().out
    assert f"Earlier output is now in {output}.previous1; the one before was removed (PREDICT.KEEP" in printed
    (output / "note.txt").unlink()
    assert {path.name for path in output.iterdir()} == {"masks", "predictions.csv"}
    run(folder, tmp_path, pattern, "PREDICT.OVERWRITE=True")
    assert {path.name for path in output.parent.iterdir()} == names
    assert "Earlier output" not in capsys.readouterr().out
    run(folder, tmp_path, pattern, "PREDICT.PICTURES=False", "PREDICT.KEEP_PREVIOUS=null")
    kept = [output.parent / f"{WEIGHTS}.previous{number}" for number in (1, 2)]
    assert [path.is_dir() for path in kept] == [True, True] and (kept[0] / "note.txt").exists()


def test_tiles_with_enough_overlap_give_what_the_whole_image_gives(tmp_path):
    """Through the command: a U-Net for 96x96 sees an image of 160x224 in tiles; another network sees it whole."""
    overrides = [*UNET[:2], "INPUT.HEIGHT=96", "INPUT.WIDTH=96", "VERBOSE=0", "HYPER_PARAMETERS.BATCH_SIZE=3"]
    make_weights(tmp_path, overrides)
    image = np.random.default_rng(3).integers(0, 255, (160, 224, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "large.png"), image)
    base = [f"WORK_DIR={tmp_path}", *UNET[:1], "VERBOSE=0", "PREDICT.INPUT=large.png", "PREDICT.PROBABILITIES=True"]
    found = {}
    for blend in ("crop", "gaussian"):
        cfg = load_config([*base, f"PREDICT.TILE.BLEND={blend}", "PREDICT.TILE.OVERLAP=0.6"])
        found[blend] = np.load(predict(cfg) / "probabilities/large.npy")
    whole = load_config([*base, "INPUT.HEIGHT=null", "INPUT.WIDTH=null", "HYPER_PARAMETERS.BATCH_SIZE=1"])
    expected = np.load(predict(whole) / "probabilities/large.npy")
    assert expected.shape == (160, 224, 2) and expected.std() > 1e-3
    np.testing.assert_allclose(found["crop"], expected, atol=1e-5)
    np.testing.assert_allclose(found["gaussian"], expected, atol=0.05)
    assert abs(found["gaussian"] - expected).max() > 1e-6


def test_an_unpadded_network_predicts_the_same_in_few_large_windows(tmp_path):
    """By default one window here; tiles of INPUT give the same (a head of 3x3 pads their edge)."""
    model = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,6]", "MODEL.HEAD.KERNEL=1"]
    make_weights(tmp_path, [*model, "MODEL.PADDING=valid", "INPUT.HEIGHT=52", "INPUT.WIDTH=52"])
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 255, (70, 40, 3), np.uint8))
    base = [f"WORK_DIR={tmp_path}", model[0], "VERBOSE=0", "PREDICT.INPUT=a.png", "PREDICT.PROBABILITIES=True"]
    base += ["PREDICT.TILE.OVERLAP=0"]  # of 36 pixels: tiles then begin at even ones
    one, many = (
        np.load(predict(load_config([*base, *tiles])) / "probabilities/a.npy")
        for tiles in ([], ["PREDICT.TILE.SIZE=52"])
    )
    assert one.shape == (70, 40, 2) and one.std() > 1e-3
    np.testing.assert_allclose(one, many, atol=1e-5)


@pytest.mark.parametrize("blend", ["gaussian", "crop"])
@pytest.mark.parametrize("size", [(5, 9), (64, 64), (130, 71)])
def test_tiles_add_up_to_the_image(blend, size):
    """A network that returns the centre of what it sees: the tiles then make the image again."""
    image = np.random.default_rng(0).random((*size, 2)).astype(np.float32)
    seen = predict_sliding_window(image, lambda x: x[:, 4:-4, 4:-4], (40, 40), (32, 32), 0.5, blend, 3)
    np.testing.assert_allclose(seen, image, atol=1e-6)


def test_mirror_and_axis_by_hand():
    assert mirror_indices(np.arange(-3, 7), 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    axis = place_tiles(10, 6, 0.5, "crop")
    assert axis.starts == [0, 3, 4]
    assert axis.weights.tolist() == [[1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1]]


def test_turned_images_are_turned_back():
    image = np.random.default_rng(0).random((2, 6, 6, 3)).astype(np.float32)
    for name, count in {"none": 1, "flips": 4, "dihedral": 8}.items():
        ways = TRANSFORMS[name]
        assert len({change(image).tobytes() for change, _ in ways}) == count
        for change, undo in ways:
            np.testing.assert_array_equal(undo(change(image)), image)
    ramp = np.arange(6, dtype=np.float32)[None, None, :, None]  # adds 0 to 5 from left to right, whatever it sees
    mean = mean_over_transforms([lambda x: x + ramp], image, TRANSFORMS["flips"])
    np.testing.assert_allclose(mean, image + 2.5, atol=1e-6)


def test_an_ensemble_is_the_mean_of_its_networks(tmp_path):
    models = [
        make_weights(tmp_path, [*UNET, f"MODEL.WEIGHTS_FILE_NAME={name}"], seed) for seed, name in enumerate("ab")
    ]
    image = np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), image[..., ::-1])
    cfg = load_config([f"WORK_DIR={tmp_path}", UNET[0], "VERBOSE=0", "PREDICT.INPUT=x.png", "PREDICT.ENSEMBLE=[a,b]",
                       "PREDICT.PROBABILITIES=True", "PREDICT.TTA=dihedral"])  # fmt: skip
    got = np.load(predict(cfg) / "probabilities/x.npy")
    seen, expected = image[None] / np.float32(255), 0
    for quarters in range(4):
        for flip in (False, True):
            turned = np.rot90(seen[:, ::-1] if flip else seen, quarters, (1, 2))
            for model in models:
                back = np.rot90(model.predict(turned, verbose=0), -quarters, (1, 2))
                expected = expected + (back[:, ::-1] if flip else back)[0] / 16
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_thresholds_and_postprocessing_by_hand():
    probability = np.array([[[0.5, 0.3, 0.2], [0.2, 0.35, 0.45], [0.6, 0.25, 0.15]]], np.float32)
    assert class_indices(probability).tolist() == [[0, 2, 0]]
    assert class_indices(probability, [0.28, 0.5]).tolist() == [[1, 1, 0]]
    assert class_indices(probability[..., 1:2], [0.3]).tolist() == [[0, 1, 0]]
    labels = np.zeros((7, 9, 1), np.uint8)
    labels[1:6, 1:6] = 1
    labels[3, 3] = 0
    labels[0, 8] = labels[5:7, 7] = 1
    assert postprocess(labels, minimum_size=2)[..., 0].sum() == 26
    assert postprocess(labels, largest=True)[..., 0].sum() == 24
    assert postprocess(labels, largest=True, fill_holes=True)[..., 0].sum() == 25


@pytest.mark.slow
def test_a_huge_image_stays_bounded_in_memory(tmp_path):
    """10,000 x 10,000 pixels through UNet 3+ with narrow maps: peak memory below 3 GB."""
    make_weights(tmp_path, ["MODEL.TYPE=tiny_unet3plus", "MODEL.FILTERS=[2,2,2,2,2]", "INPUT.HEIGHT=512",
                            "INPUT.WIDTH=512"])  # fmt: skip
    cv2.imwrite(str(tmp_path / "huge.png"), np.random.default_rng(0).integers(0, 255, (10_000, 10_000), np.uint8))
    script = (
        "import resource, sys; from predict import predict; from utils.config import load_config;"
        "predict(load_config(sys.argv[1:])); print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    result = run_command("-c", script, f"WORK_DIR={tmp_path}", TINY[0], "PREDICT.INPUT=huge.png",
                         "PREDICT.TILE.OVERLAP=0.1", timeout=1800)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split("peak")[1]) / 2**20 < 3
