"""DATASET.CLASS_MASKS: masks with a plane for each class, in every form and loader."""

import io
import zipfile

import cv2
import numpy as np
import pytest
import tifffile
from helpers import installed

from data_generators import LOADERS, build_dataset
from data_generators.files.pairing import find_pairs
from data_preparation import split as split_command
from data_preparation.tfrecord import inspect, write_shards
from data_preparation.verify_data import verify_data
from evaluate import evaluate
from losses.constant_answer import constant_scores
from losses.count_scores import Scoring
from predict import predict
from train import train
from utils.base.class_bits import pack
from utils.base.errors import UserError
from utils.base.ignored_classes import with_ignored
from utils.config import load_config
from utils.config.class_names import mask_class_names

HEIGHT, WIDTH = 16, 24
TINY = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", f"INPUT.HEIGHT={HEIGHT}", f"INPUT.WIDTH={WIDTH}", "VERBOSE=0"]
NAMES = ["liver", "tumour"]
CLASSES = ["OUTPUT.MULTI_LABEL=True", "OUTPUT.CLASSES=2"]
FILES = [*CLASSES, "DATASET.CLASS_MASKS=[liver,tumour]"]
STACK = [*CLASSES, "DATASET.CLASS_MASKS=stack", "OUTPUT.CLASS_NAMES=[background,liver,tumour]"]


def planes_of(number):
    """Overlapping squares, uint8 `(height, width, 2)` of 0 and 1."""
    planes = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
    planes[2 + number : 12, 3:15, 0] = planes[6:14, 8 + number : 20, 1] = 1
    return planes


def write_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


def write_npz(path, planes, name):
    if name:
        np.savez_compressed(path, spacing=np.ones(2), **{key: planes[..., n] for n, key in enumerate(NAMES)})
    else:
        np.savez(path, planes)


FORMS = {  # name -> (settings, function (folder, case, planes) that writes)
    "folders": (FILES, lambda f, c, p: [write_png(f / k / f"{c}.png", p[..., n] * 255) for n, k in enumerate(NAMES)]),
    "ends": (FILES, lambda f, c, p: [write_png(f / f"{c}_{k}.png", p[..., n]) for n, k in enumerate(NAMES)]),
    "case folders": (FILES, lambda f, c, p: [write_png(f / c / f"{k}.png", p[..., n]) for n, k in enumerate(NAMES)]),
    "pages": (STACK, lambda f, c, p: tifffile.imwrite(f / f"{c}.tif", np.moveaxis(p, -1, 0), photometric="minisblack")),
    "bands": (
        STACK,
        lambda f, c, p: tifffile.imwrite(f / f"{c}.tif", p, photometric="minisblack", planarconfig="contig"),
    ),
    "hyperstack": (
        STACK,
        lambda f, c, p: tifffile.imwrite(f / f"{c}.tif", np.moveaxis(p, -1, 0), imagej=True, metadata={"axes": "CYX"}),
    ),
    "last axis": (STACK, lambda f, c, p: np.save(f / f"{c}.npy", p.astype(bool))),
    "first axis": (STACK, lambda f, c, p: np.save(f / f"{c}.npy", np.asfortranarray(np.moveaxis(p * 7, -1, 0), ">i4"))),
    "one array": (STACK, lambda f, c, p: write_npz(f / f"{c}.npz", p, None)),
    "named arrays": (STACK, lambda f, c, p: write_npz(f / f"{c}.npz", p, True)),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{form: folder with `data`}, the same masks in each."""
    found = {}
    for form, (_, write) in FORMS.items():
        folder = found[form] = tmp_path_factory.mktemp(form.replace(" ", "_"))
        for number in range(3):
            where = folder / "data" / ("train" if number else "val")
            (where / "mask").mkdir(parents=True, exist_ok=True)
            write(where / "mask", f"mask_{number}", planes_of(number))
            write_png(where / f"images/image_{number}.png", planes_of(number).sum(-1).astype(np.uint8) * 100)
    return found


def config(folder, *overrides):
    return load_config([f"WORK_DIR={folder}", *TINY, *overrides])


def masks_of(cfg, split="train"):
    return np.concatenate([np.asarray(batch[1])[..., 0] for batch in build_dataset(cfg, split, shuffle=False)])


WANTED = np.stack([pack(planes_of(number)) for number in (1, 2)])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_masks(form, folders):
    settings = FORMS[form][0]
    found = masks_of(config(folders[form], *settings))
    assert found.dtype == np.uint8 and (found == WANTED).all()


@pytest.mark.parametrize("loader", installed(LOADERS))
@pytest.mark.parametrize("form", ["folders", "named arrays"])
def test_every_loader_reads_them(loader, form, folders):
    folder, settings = folders[form], FORMS[form][0]
    options = [f"DATA_GENERATOR_TYPE={loader}"]
    if loader == "TFRECORD":
        asked = NAMES if form == "folders" else ["stack", *NAMES]
        places = [folder / "data/train" / kind for kind in ("images", "mask")]
        write_shards(*places, folder / "shards", "train", 2, "none", class_masks=asked)
        options.append("DATASET.TRAIN.IMAGES_PATH=shards/train-*.tfrec")
    else:
        options.append("DATASET.CACHE=memory") if loader != "DALI_GENERATOR" else None
    cfg = config(folder, *settings, *options)
    assert (masks_of(cfg) == WANTED).all()
    if loader == "TFRECORD":
        found = verify_data(cfg, ["train"], details=True)["train"]["labels"]
        assert [found[index]["pixels"] for index in (1, 2)] == [(WANTED & bit > 0).sum() for bit in (1, 2)]


def test_inspecting_shards_names_the_bands(folders, capsys):
    places = [folders["pages"] / "data/val" / kind for kind in ("images", "mask")]
    write_shards(*places, folders["pages"] / "shards", "val", 1, "none", class_masks=["stack", *NAMES])
    inspect(folders["pages"] / "shards")
    assert "mask_0.tif" in (printed := capsys.readouterr().out) and "2 bands, values 0, 1" in printed


def test_lists_of_a_split_hold_the_files_of_all_classes(folders, tmp_path):
    places = [str(folders["folders"] / "data/train" / kind) for kind in ("images", "mask")]
    split_command.main([*places, str(tmp_path), "--folds", "2", "--group", "none", "--class-masks", *NAMES])
    cfg = config(tmp_path, *FILES, f"DATASET.FOLDS={tmp_path}", "DATASET.FOLD=0")
    assert len((tmp_path / "fold0_val_masks.txt").read_text().split()) == 2
    assert len(masks_of(cfg, "val")) == 1


@pytest.mark.parametrize("form", ["ends", "last axis", "pages"])
def test_images_and_masks_may_share_a_folder(form, tmp_path):
    settings, write = FORMS[form]
    for number in range(2):
        write_png(tmp_path / f"image_{number}.png", planes_of(number)[..., 0])
        write(tmp_path, f"mask_{number}", planes_of(number))
    paths = [f"DATASET.VAL.{kind}_PATH={tmp_path}" for kind in ("IMAGES", "MASK")]
    cfg = config(tmp_path, *settings, *paths)
    assert [pair.image.stem for pair in find_pairs(cfg, "val")] == ["image_0", "image_1"]
    assert (masks_of(cfg, "val") == np.stack([pack(planes_of(number)) for number in (0, 1)])).all()


def test_one_of_several_classes_alone(folders):
    found = masks_of(config(folders["ends"], "OUTPUT.CLASSES=1", "DATASET.CLASS_MASKS=[tumour]"))
    assert (found == WANTED >> 1).all()


def test_pages_of_images_with_a_file_for_each_class(tmp_path):
    for split in ("images", "mask"):
        (tmp_path / "data/val" / split).mkdir(parents=True)
    stack = np.stack([planes_of(number) for number in range(3)])
    tifffile.imwrite(tmp_path / "data/val/images/a.tif", stack[..., 0], photometric="minisblack")
    for index, name in enumerate(NAMES):
        tifffile.imwrite(tmp_path / f"data/val/mask/a_{name}.tif", stack[..., index], photometric="minisblack")
    assert (masks_of(config(tmp_path, *FILES), "val") == pack(stack)).all()
    with pytest.raises(UserError, match=r"a.tif: has 3 pages; DATASET.CLASS_MASKS=stack has all masks of one image"):
        (tmp_path / "data/val/mask/a_liver.tif").rename(tmp_path / "data/val/mask/a.tif")
        find_pairs(config(tmp_path, *STACK), "val")


def test_masks_of_bits_are_scored_against_planes(folders, tmp_path):
    cfg = config(folders["folders"], *FILES)
    assert mask_class_names(cfg) == ["background", *NAMES]
    labels = verify_data(cfg, details=True)["train"]["labels"]
    assert [labels[index]["pixels"] for index in (1, 2)] == [(WANTED & bit > 0).sum() for bit in (1, 2)]
    found = planes_of(1)  # beside the truth, planes_of(0)
    write_png(tmp_path / "image_0.png", pack(found))
    scored = ["EVALUATION.METRICS=[confusion]", "EVALUATION.SPLITS=[val]", f"EVALUATION.PREDICTIONS={tmp_path}"]
    for form in ("folders", "pages", "named arrays"):
        scores = evaluate(config(folders[form], *FORMS[form][0], *scored))
        for index in range(2):
            both = 2 * (planes_of(0) & found)[..., index].sum() / (planes_of(0) + found)[..., index].sum()
            assert scores[f"dice_class{index + 1}"] == pytest.approx(both)


@pytest.fixture(scope="module")
def partly(tmp_path_factory):
    """A folder with `data`, where 255 ignores a part of one class, another of the other, and a row of both."""
    folder = tmp_path_factory.mktemp("partly")
    for number in range(4):
        where = folder / "data" / ("train" if number > 1 else "val")
        planes = planes_of(number)
        write_png(where / f"images/image_{number}.png", np.dstack([planes * 100, planes[..., 0] * 0]))
        planes[5:9, 2:9, 0] = planes[2:7, 10:22, 1] = planes[0] = 255
        for index, name in enumerate(NAMES):
            write_png(where / f"mask/mask_{number}_{name}.png", planes[..., index])
    return folder


IGNORED = [*FILES, "DATASET.IGNORE_LABEL=255"]


def planes_in(folder, split):
    """What the files hold: `(images, height, width, classes)`."""
    paths = sorted((folder / f"data/{split}/images").iterdir())
    numbers = [path.stem.rpartition("_")[2] for path in paths]
    read = [[folder / f"data/{split}/mask/mask_{number}_{name}.png" for name in NAMES] for number in numbers]
    return np.stack([np.dstack([cv2.imread(str(path), 0) for path in paths]) for paths in read])


KNOBS = [f"AUGMENTATION.{knob}.PROBABILITY=1.0" for knob in ("ROTATION", "ZOOM", "HORIZONTAL_FLIP")]


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_a_class_is_ignored_by_itself_in_every_loader(loader, partly):
    options = [f"DATA_GENERATOR_TYPE={loader}"]
    if loader == "TFRECORD":
        places = [partly / "data/train" / kind for kind in ("images", "mask")]
        write_shards(*places, partly / "shards", "train", 1, "none", class_masks=NAMES)
        options.append("DATASET.TRAIN.IMAGES_PATH=shards/train-*.tfrec")
    elif loader == "TF_GENERATOR":
        options.append("DATASET.CACHE=kept")
    planes = planes_in(partly, "train")
    ignored = planes == 255
    wanted = with_ignored(np.where(ignored.all(-1), 255, pack(planes == 1)).astype(np.uint8), ignored)
    for _ in range(2):
        found = masks_of(config(partly, *IGNORED, *options))
        assert found.dtype == np.uint16 and (found == wanted).all()
    engine = "tensorflow" if loader in ("TF_DATA", "TFRECORD") else "albumentations"
    cfg = config(partly, *IGNORED, *options, f"AUGMENTATION.ENGINE={engine}", "AUGMENTATION.FILL=zero", *KNOBS)
    for _, masks in build_dataset(cfg, "train", augment=True):
        masks = np.asarray(masks)
        assert masks.dtype == np.uint16 and set(np.unique(masks)) <= {*np.unique(wanted).tolist(), 255}
        assert (masks >= 256).any()


def test_what_is_ignored_of_a_class_is_not_scored(partly):
    cfg = config(partly, *IGNORED, "loss=bce_dice", "HYPER_PARAMETERS.EPOCHS=2", "HYPER_PARAMETERS.LEARNING_RATE=0.01")
    planes = planes_in(partly, "val")
    labels = verify_data(cfg, details=True)["val"]["labels"]
    assert [labels[index]["pixels"] for index in (1, 2)] == [(planes[..., index] == 1).sum() for index in (0, 1)]
    history = train(cfg)
    scores = evaluate(config(partly))
    output = predict(config(partly, "PREDICT.PROBABILITIES=True"))
    found = np.stack([np.load(output / f"probabilities/image_{number}.npy") > 0.5 for number in (0, 1)])
    for index in range(2):
        known = planes[..., index] != 255
        true = planes[..., index] == 1
        predicted = found[..., index] & known
        dice = 2 * (true & predicted).sum() / (true.sum() + predicted.sum())
        assert scores[f"dice_class{index + 1}"] == pytest.approx(dice, abs=1e-5)
        specificity = (~true & ~predicted & known).sum() / (~true & known).sum()
        assert scores[f"specificity_class{index + 1}"] == pytest.approx(specificity, abs=1e-5)
    assert np.isfinite(history["loss"]).all()
    scored = ["EVALUATION.METRICS=[confusion,objects]", "EVALUATION.SPLITS=[val]", f"EVALUATION.PREDICTIONS={output}"]
    again = evaluate(config(partly, *IGNORED, *scored))
    for name in ("dice_class1", "specificity_class2"):
        assert again[name] == pytest.approx(scores[name], abs=1e-5)
    every, liver = (planes[..., 0] != 255).sum(), (planes[..., 0] == 1).sum()
    cases = verify_data(cfg, ["val"])["val"]
    constant = constant_scores(cases["label_counts"], (1,), Scoring.from_config(cfg), cases["known_counts"])
    assert constant["dice_class1"] == pytest.approx(2 * liver / (every + liver))
    assert constant["specificity_class1"] == 0 and constant["specificity_class2"] == 1


def with_header(header):
    """An .npy file whose header says something else."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(64)


def npz(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


PLANE = np.zeros((HEIGHT, WIDTH), np.uint8)
BAD = {
    "objects": (npy(np.array([{}, 1], object)), "holds values of the type object"),
    "huge": (with_header({"descr": "|u1", "fortran_order": False, "shape": (2, 10**6, 10**6)}), "promises an array"),
    "short": (npy(np.zeros((2, 9, 9), np.uint8))[:-5], "the array file is damaged"),
    "no header": (b"\x93NUMPY\x01\x00\xff\xff{", "the array file is damaged"),
    "floats": (npy(np.zeros((2, 9, 9))), "type float64; masks are whole numbers"),
    "three": (npy(np.zeros((3, 9, 9), np.uint8)), r"shape \(3, 9, 9\); OUTPUT.CLASSES=2 needs \(2, height, width\)"),
    "either": (npy(np.zeros((2, 9, 2), np.uint8)), "the first axis or the last may be that of the classes"),
    "values": (npy(np.stack([PLANE, np.indices(PLANE.shape)[1] % 3])), "tumour holds 1, 2; a mask of"),
    "names": (npz({"liver.npy": npy(PLANE), "other.npy": npy(PLANE)}), "has the arrays liver, other; it needs one"),
    "sizes": (npz({"liver.npy": npy(PLANE), "tumour.npy": npy(PLANE[1:])}), r"array tumour has the shape \(15, 24\)"),
    "zip": (npz({"liver.npy": npy(PLANE)})[:-30], "the array file is damaged"),
    "picture": (cv2.imencode(".png", PLANE)[1].tobytes(), "has 1 pages or bands, OUTPUT.CLASSES=2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_stacks_are_one_line(case, tmp_path):
    data, words = BAD[case]
    (tmp_path / "data/val/mask").mkdir(parents=True)
    write_png(tmp_path / "data/val/images/a.png", PLANE)
    suffix = {b"PK": ".npz", b"\x89P": ".png"}.get(data[:2], ".npy")
    (tmp_path / f"data/val/mask/a{suffix}").write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        verify_data(config(tmp_path, *STACK), ["val"])
    assert str(tmp_path) in str(caught.value)


def test_bad_files_are_one_line(folders, tmp_path):
    write_png(tmp_path / "data/val/images/a.png", PLANE)
    write_png(tmp_path / "data/val/mask/liver/a.png", PLANE)
    with pytest.raises(UserError, match=r"has no file of the class tumour of DATASET.CLASS_MASKS"):
        verify_data(config(tmp_path, *FILES), ["val"])
    write_png(tmp_path / "data/val/mask/tumour/b.png", PLANE)
    with pytest.raises(UserError, match=r"has no partner in tumour of DATASET.CLASS_MASKS"):
        verify_data(config(tmp_path, *FILES), ["val"])
    write_png(tmp_path / "data/val/mask/tumour/a.png", PLANE[2:])
    (tmp_path / "data/val/mask/tumour/b.png").unlink()
    with pytest.raises(UserError, match=r"tumour/a.png: is 14x24 \(height x width\), .*liver/a.png of the same"):
        verify_data(config(tmp_path, *FILES), ["val"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([*CLASSES, "DATASET.CLASS_MASKS=pages"], "must be stack, or a list of classes"),
        ([*CLASSES, "DATASET.CLASS_MASKS=[liver]"], "has files of 1 classes, OUTPUT.CLASSES=2"),
        ([*CLASSES, "DATASET.CLASS_MASKS=[liver,liver]"], "must be different names, such as"),
        (["OUTPUT.CLASSES=2", FILES[-1]], "set OUTPUT.MULTI_LABEL=True"),
        ([*FILES, "DATASET.LABEL_SETS={1:[1,2]}"], "leave DATASET.CLASS_MASKS out"),
        ([*FILES, "OUTPUT.CLASS_NAMES=[background,tumour,liver]"], "have liver in different places"),
    ],
)
def test_what_cannot_be_is_said_first(overrides, words):
    with pytest.raises(UserError, match=words):
        load_config(overrides)
