"""DATASET.LABEL_SETS: a value of the masks stands for several classes, from the files to predictions."""

import cv2
import nibabel as nib
import numpy as np
import pytest
from helpers import installed, source_of

from data_generators import LOADERS, build_dataset
from data_generators.files.preparation import write_preparation
from data_preparation.verify_data import find_training_files, verify_data
from evaluate import evaluate
from predict import predict
from train import train
from utils.base.class_bits import pack
from utils.base.errors import UserError
from utils.base.palette import class_color, color_table
from utils.checkpoints import weights_path
from utils.config import load_config
from utils.config.label_sets import label_sets_of, labels_of_bits
from utils.training.resume import find_state

SIDE = 16
TINY = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", f"INPUT.HEIGHT={SIDE}", f"INPUT.WIDTH={SIDE}", "VERBOSE=0"]
CLASSES = ["OUTPUT.MULTI_LABEL=True", "OUTPUT.CLASSES=2", "OUTPUT.CLASS_NAMES=[background,liver,tumour]"]
REGIONS = [*CLASSES, "DATASET.LABEL_SETS={100:[liver],300:[tumour,liver]}", "DATASET.IGNORE_LABEL=255"]
BITS = {0: 0, 100: 1, 300: 3, 255: 255}  # what each value means, written by hand


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `data`: a liver (100), a tumour (300) within, and pixels that nobody labelled (255), of 16 bit."""
    folder = tmp_path_factory.mktemp("sets")
    for number in range(6):
        mask = np.zeros((SIDE, SIDE), np.uint16)
        mask[2 : 12 + number % 3, 3:13] = 100
        mask[5:9, 4 + number : 8 + number] = 300
        image = np.uint8(np.where(mask == 300, 220, np.where(mask == 100, 120, 10)))
        mask[0, :5] = 255
        where = folder / "data" / ("train" if number < 4 else "val")
        for kind, pixels in (("images", image), ("mask", mask)):
            (where / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(where / kind / f"case_{number}.png"), pixels)
    return folder


def config(folder, *overrides):
    return load_config([f"WORK_DIR={folder}", *TINY, *overrides])


def bits_of(path):
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return np.vectorize(BITS.get)(values).astype(np.uint8)


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_every_loader_reads_the_classes_of_values(loader, folder):
    cfg = config(folder, *REGIONS, f"DATA_GENERATOR_TYPE={loader}", *source_of(loader, folder))
    wanted = np.stack([bits_of(path) for path in sorted((folder / "data/val/mask").iterdir())])
    dataset = build_dataset(cfg, "val", shuffle=False)
    found = np.concatenate([np.asarray(mask)[..., 0] for _, mask in dataset])
    assert found.dtype == np.uint8 and (found == wanted).all()


def test_verification_counts_classes_and_names_other_values(folder, tmp_path):
    labels = verify_data(config(folder, *REGIONS), details=True)["val"]["labels"]
    stored = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (folder / "data/val/mask").iterdir()]
    areas = [np.sum(np.isin(stored, values)) for values in ([0], [100, 300], [300])]
    assert [labels[index]["pixels"] for index in range(3)] == areas
    with pytest.raises(UserError, match=r"holds the value 300; DATASET.LABEL_SETS has \[0, 100\] and DATASET.IGNORE"):
        verify_data(config(folder, *CLASSES, "DATASET.LABEL_SETS={100:[1,2]}", "DATASET.IGNORE_LABEL=255"))


def test_a_single_class_may_have_several_values(folder):
    cfg = config(folder, "OUTPUT.CLASSES=1", "DATASET.LABEL_SETS={100:[1],300:[1]}", "DATASET.IGNORE_LABEL=255")
    (batch,) = build_dataset(cfg, "val", shuffle=False)
    wanted = np.stack([bits_of(path) for path in sorted((folder / "data/val/mask").iterdir())])
    assert (np.asarray(batch[1])[..., 0] == np.where(wanted == 255, 255, wanted > 0)).all()


def test_from_training_to_predictions_with_the_values_of_the_masks(folder):
    quick = [*REGIONS, "loss=bce_dice", "HYPER_PARAMETERS.EPOCHS=2"]
    history = train(config(folder, *quick))
    assert {"val_dice_class1", "val_dice_class2"} <= set(history)
    longer = config(folder, *quick[:-1], "HYPER_PARAMETERS.EPOCHS=3")
    weights = weights_path(longer)
    assert find_state(longer, weights) is not None
    other = config(folder, *quick[:-1], "HYPER_PARAMETERS.EPOCHS=3", "DATASET.LABEL_SETS={100:[liver,tumour]}")
    assert find_state(other, weights) is None  # another run
    scores = evaluate(config(folder))  # the sets are beside the weights
    assert {"dice_class1", "dice_class2"} <= set(scores)

    nib.save(nib.Nifti1Image(np.zeros((SIDE, SIDE, 3), np.int16), np.eye(4)), folder / "scan.nii.gz")
    sources = [*sorted((folder / "data/val/images").iterdir()), folder / "scan.nii.gz"]
    asked = ["PREDICT.MASK_VALUES=labels", "PREDICT.PROBABILITIES=True"]
    output = predict(config(folder, f"PREDICT.INPUT=[{','.join(map(str, sources))}]", *asked))
    for path in sources[:2]:
        bits = pack(np.load(output / f"probabilities/{path.stem}.npy") > 0.5)
        mask = cv2.imread(str(output / f"masks/{path.name}"), cv2.IMREAD_UNCHANGED)
        assert (mask == np.array([0, 100, 300, 300])[bits]).all()  # a tumour without liver is still the tumour
    assert nib.load(output / "masks/scan.nii.gz").shape == (SIDE, SIDE, 3)

    truth = folder / "data/val/mask"
    options = [f"EVALUATION.PREDICTIONS={truth}", "EVALUATION.SPLITS=[val]", "EVALUATION.METRICS=[confusion]"]
    perfect = evaluate(config(folder, *REGIONS, *options, "PREDICT.MASK_VALUES=labels"))
    assert perfect["dice_class1"] == perfect["dice_class2"] == 1


@pytest.mark.parametrize(
    ("sets", "labels"),
    [
        ({1: ["whole", "core"], 2: ["whole"], 4: ["whole", "core", "enhancing"]}, [0, 2, 1, 1, 4, 4, 4, 4]),  # BraTS
        ({7: ["whole"], 8: ["whole"], 9: ["core", "enhancing"]}, [0, 7, 9, 9, 9, 9, 9, 9]),
    ],
)
def test_values_of_combinations(sets, labels):
    names = "OUTPUT.CLASS_NAMES=[background,whole,core,enhancing]"
    typed = ",".join(f"{value}:[{','.join(classes)}]" for value, classes in sets.items())
    cfg = load_config(["OUTPUT.MULTI_LABEL=True", "OUTPUT.CLASSES=3", names, f"DATASET.LABEL_SETS={{{typed}}}"])
    assert labels_of_bits(label_sets_of(cfg)) == labels


def test_colours_of_values_are_those_of_their_classes():
    table = np.reshape(color_table(multi_label=True, values=(0, 100, 200, 200)), (256, 3)).tolist()
    both = [sum(pair) // 2 for pair in zip(class_color(1), class_color(2), strict=True)]
    assert (table[0], table[100], table[200], table[1]) == ([0, 0, 0], list(class_color(1)), both, [0, 0, 0])


def test_the_names_of_prepared_data_are_those_of_values_not_of_classes(folder, tmp_path):
    for name in ("images", "mask"):
        (tmp_path / "data/train" / name).mkdir(parents=True)
        (tmp_path / "data/train" / name / "case_0.png").write_bytes(
            (folder / f"data/train/{name}/case_0.png").read_bytes()
        )
    write_preparation(tmp_path / "data/train", {"OUTPUT.CLASS_NAMES": ["background", "liver", "tumour"]})
    assert list(find_training_files(config(tmp_path, *REGIONS))[0].OUTPUT.CLASS_NAMES)[1:] == ["liver", "tumour"]
    write_preparation(tmp_path / "data/train", {"OUTPUT.MULTI_LABEL": True})
    with pytest.raises(UserError, match=r"DATASET.LABEL_SETS contradicts the data, whose values are bits"):
        find_training_files(config(tmp_path, *REGIONS))[0]


SETS = "DATASET.LABEL_SETS="


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([*CLASSES, f"{SETS}{{1:[kidney]}}"], "kidney is no class; its classes are liver, tumour, or 1 to 2"),
        ([*CLASSES[:2], f"{SETS}{{1:[a],2:[a,b]}}"], r"OUTPUT.CLASS_NAMES=\[background,a,b\] names them"),
        ([*CLASSES, f"{SETS}{{1:[3]}}"], "3 is no class"),
        ([*CLASSES, f"{SETS}{{1:[liver]}}"], "no value stands for the class tumour"),
        ([*CLASSES, f"{SETS}{{1:liver}}"], "1 needs a list of classes"),
        ([*CLASSES, f"{SETS}{{x:[liver]}}"], "x is no value of a mask"),
        ([*CLASSES, f"{SETS}[1]"], "expected dict or null, got list"),
        (["OUTPUT.CLASSES=3", f"{SETS}{{1:[1]}}"], "set OUTPUT.MULTI_LABEL=True"),
        ([*REGIONS, "DATASET.LABEL_VALUES=[0,1]"], "leave DATASET.LABEL_VALUES out"),
        ([*REGIONS, "DATASET.IGNORE_LABEL=100"], "IGNORE_LABEL=100 is one of DATASET.LABEL_SETS"),
    ],
)
def test_what_cannot_be_is_said_first(overrides, words):
    with pytest.raises(UserError, match=words):
        load_config(overrides)
