"""Splits keep volumes together, are alike in foreground, and train through DATASET.FOLD."""

import cv2
import numpy as np
import pytest
from helpers import PROJECT, assert_one_clear_error, run_command
from omegaconf import OmegaConf
from warm_helpers import run_warm

from data_generators.files.image_file import volume_and_slice
from data_generators.files.pairing import find_pairs
from data_preparation.common.stratified_splits import assign_parts, count_parts, distribute_parts
from data_preparation.split import main, split
from utils.base.errors import UserError
from utils.config import load_config
from utils.config.folds import fold_configs
from utils.training.settings import training_settings

# Quick to build and to train.
SMALL = [
    "MODEL.TYPE=unet",
    "MODEL.FILTERS=[2,2,2,2,2]",
    "INPUT.HEIGHT=16",
    "INPUT.WIDTH=16",
    "INPUT.CHANNELS=1",
    "loss=dice",
]
RNG = np.random.default_rng(7)


def make(folder, names, share=None, size=(8, 8)):
    """Pictures `images/<name>.png` and masks with a share of foreground for each."""
    for kind in ("images", "mask"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / f"images/{name}.png"), RNG.integers(0, 256, size, np.uint8))
        mask = np.zeros(size[0] * size[1], np.uint8)
        mask[: int(mask.size * (index % 3 / 4 if share is None else share[index]))] = 1
        cv2.imwrite(str(folder / f"mask/{name.replace('image', 'mask')}.png"), mask.reshape(size))
    return folder


def slices(volumes, each):
    return [f"image_{volume}_{index}" for volume in range(volumes) for index in range(each)]


def volumes(paths):
    return {volume_and_slice(path)[0] for path in paths}


def run(folder, **options):
    return split(folder / "images", folder / "mask", folder / "lists", workers=1, **options)


@pytest.mark.parametrize("folds", [2, 5])
def test_no_volume_is_on_both_sides(tmp_path, folds):
    names = [f"image_{volume}_{index}" for volume in range(9) for index in range(2 + volume % 4)]
    make(tmp_path, names)
    lists = run(tmp_path, folds=folds)
    assert len(lists) == 4 * folds
    validated = []
    for fold in range(folds):
        train, val = (lists[f"fold{fold}_{side}_images.txt"] for side in ("train", "val"))
        assert train and val and not volumes(train) & volumes(val)
        assert {path.stem for path in train + val} == set(names)
        validated += val
        for side in ("train", "val"):
            masks = [path.stem.replace("mask", "image") for path in lists[f"fold{fold}_{side}_masks.txt"]]
            assert masks == [path.stem for path in lists[f"fold{fold}_{side}_images.txt"]]
    assert sorted(path.stem for path in validated) == sorted(names)  # each once


def test_no_fold_is_empty_or_torn_whatever_the_groups():
    for trial in range(60):
        rng = np.random.default_rng(trial)
        count = int(rng.integers(2, 12))
        sizes = rng.integers(1, 9, count)
        groups = np.repeat(np.arange(count), sizes).tolist()
        shares = rng.random(len(groups)) * (rng.random(len(groups)) < rng.random())
        parts = int(rng.integers(2, count + 1))
        part_of = assign_parts(groups, shares, parts, trial)
        assert set(part_of.tolist()) == set(range(parts))
        for group in range(count):
            assert len(set(part_of[np.array(groups) == group])) == 1


def test_parts_are_alike_in_foreground(tmp_path):
    # 12 volumes: a third without foreground, a third with little, a third with much.
    names = slices(12, 3)
    share = [[0, 0.1, 0.8][int(name.split("_")[1]) // 4] for name in names]
    make(tmp_path, names, share)
    lists = run(tmp_path, folds=4)
    for fold in range(4):
        kinds = sorted(int(volume) // 4 for volume in volumes(lists[f"fold{fold}_val_images.txt"]))
        assert kinds == [0, 1, 2]
    names = [f"picture{index:02d}" for index in range(40)]
    make(tmp_path / "single", names, [0.5 if index < 8 else 0 for index in range(40)])
    lists = run(tmp_path / "single", folds=4)
    for fold in range(4):
        val = lists[f"fold{fold}_val_images.txt"]
        assert len(val) == 10 and sum(path.stem < "picture08" for path in val) == 2


def test_the_seed_decides(tmp_path):
    make(tmp_path, slices(8, 2))
    first, same, other = (run(tmp_path, folds=4, seed=seed) for seed in (1, 1, 2))
    assert first == same != other


def test_fractions(tmp_path):
    make(tmp_path, slices(20, 2))
    lists = run(tmp_path, fractions=[0.7, 0.15, 0.15])
    found = {name: volumes(lists[f"{name}_images.txt"]) for name in ("train", "val", "test")}
    assert [len(groups) for groups in found.values()] == [14, 3, 3]
    assert len(set.union(*found.values())) == 20
    lists = run(tmp_path, fractions=[0.9, 0.1])
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == sorted(lists)  # the test lists are gone
    assert len(lists) == 4


@pytest.mark.parametrize(
    "fractions, parts, expected",
    [
        ([0.7, 0.15, 0.15], 20, [14, 3, 3]),
        ([0.7, 0.15, 0.15], 6, [4, 1, 1]),
        ([0.98, 0.01, 0.01], 3, [1, 1, 1]),
        ([0.5, 0.5], 5, [3, 2]),
        ([1 / 3, 1 / 3, 1 / 3], 10, [4, 3, 3]),
        ([0.8, 0, 0.2], 10, [8, 0, 2]),
    ],
)
def test_shares_of_parts(fractions, parts, expected):
    assert distribute_parts(fractions, parts).tolist() == expected
    assert count_parts([0.7, 0.15, 0.15], 1000) == 20 and count_parts([0.7, 0.15, 0.15], 6) == 6


def test_groups_by_expression_and_none(tmp_path):
    make(tmp_path, [f"{scene}_f{index:03d}" for scene in ("park", "road", "yard") for index in range(4)])
    lists = run(tmp_path, folds=3, group=r"(.+)_f\d+")
    assert [len({path.stem[:4] for path in lists[f"fold{fold}_val_images.txt"]}) for fold in range(3)] == [1, 1, 1]
    make(tmp_path / "b", [f"slice_{index}" for index in range(6)])
    with pytest.raises(UserError, match=r"6 images of 1 group, such as slice: 3 groups are needed"):
        run(tmp_path / "b", folds=3)
    assert len(run(tmp_path / "b", folds=3, group="none")["fold0_val_images.txt"]) == 2


def test_a_list_of_images_is_split(tmp_path):
    """As predict.py writes one with PREDICT.SELECT, once its images have masks."""
    make(tmp_path, [f"case{index}" for index in range(6)])
    selected = tmp_path / "select.txt"
    selected.write_text("".join(f"images/case{index}.png\n" for index in (4, 1, 3, 0)))
    lists = split(selected, tmp_path / "mask", tmp_path / "lists", fractions=(0.5, 0.5), group="none")
    assert {path.stem for name in ("train_images.txt", "val_images.txt") for path in lists[name]} == {
        "case0",
        "case1",
        "case3",
        "case4",
    }
    selected.write_text("images/gone.png")
    with pytest.raises(UserError, match=r"select\.txt lists .*gone\.png, which does not exist"):
        split(selected, tmp_path / "mask", tmp_path / "lists", fractions=(0.5, 0.5), group="none")


def test_lists_work_from_anywhere(tmp_path, monkeypatch):
    make(tmp_path, slices(4, 2))
    monkeypatch.chdir(tmp_path)
    main(["images", "mask", "lists", "--folds", "2", "--workers", "1"])
    text = (tmp_path / "lists/fold0_val_images.txt").read_text()
    assert text.startswith("../images/image_") and text.count("\n") == 4
    monkeypatch.chdir("/")
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    cfg = load_config([f"DATASET.VAL.IMAGES_PATH={moved}/lists/fold0_val_images.txt", "DATASET.VAL.MASK_PATH=null"])
    assert [pair.image.exists() for pair in find_pairs(cfg, "val")] == [True] * 4


def test_list_files(tmp_path):
    make(tmp_path, ["a", "b"])
    (tmp_path / "i.txt").write_text(f"\ufeffimages/b.png\r\n\r\n{tmp_path}/images/a.png\r\n", newline="")
    (tmp_path / "m.txt").write_text("mask/a.png\nmask/b.png\n")

    def load(images, masks="m.txt"):
        cfg = load_config(
            [f"WORK_DIR={tmp_path}", f"DATASET.TRAIN.IMAGES_PATH={images}", f"DATASET.TRAIN.MASK_PATH={masks}"]
        )
        return [(pair.image.stem, pair.mask.stem) for pair in find_pairs(cfg, "train")]

    assert load("i.txt") == load("i.txt", "mask") == load("/i.txt") == [("b", "b"), ("a", "a")]
    (tmp_path / "i.txt").write_text("images/c.png\n")
    with pytest.raises(UserError, match=r"IMAGES_PATH=i\.txt: the file .*images/c\.png does not exist"):
        load("i.txt")
    (tmp_path / "i.txt").write_text("\n")
    with pytest.raises(UserError, match="is an empty list"):
        load("i.txt")
    (tmp_path / "i.txt").write_bytes(b"\xff\xff")
    with pytest.raises(UserError, match="not text in UTF-8"):
        load("i.txt")
    with pytest.raises(UserError, match=r"none\.txt cannot be read"):
        load("none.txt")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--folds", "1"], "at least 2"),
        (["--folds", "9"], "of 4 groups"),
        ([], "either --folds or --fractions"),
        (["--folds", "2", "--fractions", "0.5", "0.5"], "either --folds or --fractions"),
        (["--fractions", "0.5", "0.4"], "sum must be 1"),
        (["--fractions", "1"], "sum must be 1"),
        (["--folds", "2", "--group", "("], "not a regular expression"),
        (["--folds", "two"], "invalid int value"),
    ],
)
def test_bad_options(tmp_path, capsys, arguments, words):
    make(tmp_path, slices(4, 2))
    with pytest.raises(SystemExit) as end:
        main([*map(str, [tmp_path / "images", tmp_path / "mask", tmp_path / "lists"]), "--workers", "1", *arguments])
    error = capsys.readouterr().err
    assert end.value.code == 2 and words in error and len(error.splitlines()) == 1
    assert not (tmp_path / "lists").exists()


def test_bad_data(tmp_path):
    make(tmp_path, slices(4, 2))
    before = run(tmp_path, folds=2)
    (tmp_path / "mask/mask_1_1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"mask_1_1\.png: is empty"):
        run(tmp_path, folds=3)
    (tmp_path / "mask/mask_1_1.png").unlink()
    with pytest.raises(UserError, match=r"image_1_1\.png has no mask"):
        run(tmp_path, folds=3)
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == sorted(before)
    result = run_command(
        "data_preparation/split.py", tmp_path / "images", tmp_path / "mask", tmp_path / "l", "--folds", 2
    )
    assert_one_clear_error(result, "image_1_1.png has no mask")


@pytest.fixture
def folds(tmp_path):
    make(tmp_path / "data", slices(6, 2), size=(16, 16))
    split(tmp_path / "data/images", tmp_path / "data/mask", tmp_path / "folds", folds=3, workers=1)
    return tmp_path


def config(folder, *overrides):
    return load_config([f"WORK_DIR={folder}", "VERBOSE=0", "DATASET.FOLDS=folds", *overrides])


def test_a_fold_fills_in_lists_and_folders(folds):
    cfg = config(folds, "DATASET.FOLD=1", "CALLBACKS.MODEL_CHECKPOINT.PATH=out")
    train, val = ([pair.image for pair in find_pairs(cfg, split)] for split in ("train", "val"))
    assert len(train) == 8 and len(val) == 4 and not volumes(train) & volumes(val)
    assert cfg.DATASET.VAL.MASK_PATH == "folds/fold1_val_masks.txt"
    assert cfg.CALLBACKS.MODEL_CHECKPOINT.PATH == "out/fold1"
    paths = [cfg.CALLBACKS.CSV_LOGGER.PATH, cfg.CALLBACKS.TENSORBOARD.PATH, cfg.PREDICT.OUTPUT_PATH]
    assert all(path.endswith("/fold1") for path in paths)
    typed = config(folds, "DATASET.FOLD=1", "DATASET.VAL.IMAGES_PATH=mine", "DATASET.VAL.MASK_PATH=null").DATASET.VAL
    assert (typed.IMAGES_PATH, typed.MASK_PATH) == ("mine", None)
    plain = config(folds)
    assert plain.DATASET.TRAIN.IMAGES_PATH == "/data/train/images"


def test_all_folds_one_after_the_other(folds):
    configs = fold_configs(config(folds, "DATASET.FOLD=all"))
    assert [cfg.DATASET.FOLD for cfg in configs] == [0, 1, 2]
    val = [pair.image.name for cfg in configs for pair in find_pairs(cfg, "val")]
    assert sorted(val) == sorted(f"{name}.png" for name in slices(6, 2))
    for cfg in configs:
        alone = config(folds, f"DATASET.FOLD={cfg.DATASET.FOLD}")
        cfg.OVERRIDES = alone.OVERRIDES = []
        assert OmegaConf.to_container(cfg) == OmegaConf.to_container(alone)
    plain = config(folds)
    assert fold_configs(plain) == [plain]


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["DATASET.FOLD=3"], "DATASET.FOLD=3 is not among the folds 0 to 2"),
        (["DATASET.FOLD=-1"], "too small"),
        (["DATASET.FOLD=first"], "DATASET.FOLD=first must be a number, or all"),
        (["DATASET.FOLD=0", "DATASET.FOLDS=null"], "DATASET.FOLD needs DATASET.FOLDS"),
        (["DATASET.FOLD=0", "DATASET.FOLDS=data"], "there is no .*fold0_train_images.txt"),
    ],
)
def test_bad_folds(folds, overrides, words):
    with pytest.raises(UserError, match=words):
        config(folds, *overrides)


def test_training_all_folds_at_once_and_evaluating_one(folds):
    common = [f"WORK_DIR={folds}", "DATASET.FOLDS=folds", *SMALL]
    short = ["HYPER_PARAMETERS.EPOCHS=1", "HYPER_PARAMETERS.BATCH_SIZE=4"]
    result = run_warm(PROJECT / "train.py", "-m", *common, *short, "DATASET.FOLD=0,2", cwd=folds)
    assert result.returncode == 0, result.stderr
    for fold in (0, 2):
        written = {path.name for path in (folds / f"checkpoint/fold{fold}").iterdir()}
        name = "model_unet"
        assert {
            f"{name}.weights.h5",
            f"{name}.yaml",
            "training_curves_unet.png",
            "training_logs_unet.csv",
        } <= written
        assert not any("previous" in name for name in written)
        saved = OmegaConf.load(folds / f"checkpoint/fold{fold}/{name}.yaml")
        assert f"folds/fold{fold}_val_images.txt" == saved.DATASET.VAL.IMAGES_PATH
    assert not (folds / "checkpoint/fold1").exists()
    assert not (folds / "checkpoint/model_unet.weights.h5").exists()

    from evaluate import evaluate

    (cfg,) = [cfg for cfg in fold_configs(config(folds, *SMALL, "DATASET.FOLD=all")) if cfg.DATASET.FOLD == 2]
    assert 0 <= evaluate(cfg)["dice"] <= 1
    assert (folds / "checkpoint/fold2/model_unet.evaluation/evaluation.json").exists()
    asked = run_command("train.py", *common, "DATASET.FOLD=all")
    assert_one_clear_error(asked, f"python train.py -m {common[0]} {common[1]} ", " DATASET.FOLD=0,1,2")


def test_folds_without_the_number_of_one_are_refused(folds):
    with pytest.raises(
        UserError, match=r"DATASET.FOLDS needs DATASET.FOLD. Train .*: python train.py -m .*DATASET.FOLD=0,1,2"
    ):
        training_settings(config(folds, *SMALL))
