"""Shards hold the files as they are, in TensorFlow's format, and say in one line what is wrong with them."""

import cv2
import numpy as np
import pytest
from helpers import PROJECT, TINY, assert_one_clear_error, run_command

from data_generators.files.pairing import find_pairs, match_pairs
from data_generators.files.tfrecord import decode_example, encode_example, write_records
from data_generators.files.tfrecord_index import read_shard
from data_preparation.tfrecord import main, shards_of, write_shards
from evaluate import evaluate
from train import train
from utils.base.errors import UserError
from utils.config import load_config


@pytest.fixture
def folders(tmp_path):
    """Twelve 8x12 pairs of four volumes; the masks of two volumes are empty."""
    for kind in ("images", "mask"):
        (tmp_path / kind).mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        image, mask = rng.integers(0, 256, (8, 12), np.uint8), np.zeros((8, 12), np.uint8)
        mask[: number % 4] = number // 6
        cv2.imwrite(str(tmp_path / f"images/image_{number // 3}_{number % 3}.png"), image)
        cv2.imwrite(str(tmp_path / f"mask/mask_{number // 3}_{number % 3}.png"), mask)
    return tmp_path


def write(folder, shards=2, **options):
    return write_shards(folder / "images", folder / "mask", folder / "shards", "train", shards, **options)


def config(folder, value="shards", *overrides):
    size = ["INPUT.HEIGHT=8", "INPUT.WIDTH=12", "loss=dice"]
    return load_config([f"WORK_DIR={folder}", f"DATASET.TRAIN.IMAGES_PATH={value}", *size, *overrides])


def test_shards_hold_the_files_byte_by_byte(folders):
    paths = write(folders)
    assert [path.name for path in paths] == ["train-00-6.tfrec", "train-01-6.tfrec"]
    pairs = find_pairs(config(folders), "train")
    assert [pair.image.name for pair in pairs] == sorted(path.name for path in (folders / "images").iterdir())
    for image, mask in pairs:
        assert image.read_bytes() == (folders / "images" / image.name).read_bytes()
        assert mask.read_bytes() == (folders / "mask" / image.name.replace("image", "mask")).read_bytes()


def test_tensorflow_reads_our_records(folders):
    import tensorflow as tf

    seen = {}
    for path in write(folders):
        for data in tf.data.TFRecordDataset(str(path)):
            features = tf.train.Example.FromString(data.numpy()).features.feature
            seen[features["name"].bytes_list.value[0].decode()] = features["image"].bytes_list.value[0]
    assert seen == {path.name: path.read_bytes() for path in (folders / "images").iterdir()}


def test_we_read_records_of_tensorflow(folders):
    import tensorflow as tf

    path = folders / "other.tfrec"
    picture = (folders / "images/image_0_0.png").read_bytes()
    bytes_of = lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))  # noqa: E731
    numbers = tf.train.Feature(int64_list=tf.train.Int64List(value=[300, 2]))
    example = tf.train.Example(
        features=tf.train.Features(feature={"height": numbers, "mask": bytes_of(picture), "image": bytes_of(picture)})
    )
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example.SerializeToString())
    ((image, mask),) = read_shard(str(path))
    assert image.read_bytes() == mask.read_bytes() == picture
    assert image.name == "other_0.png"


def test_long_values_are_encoded_right():
    for size in (0, 1, 127, 128, 70_000):
        value = bytes(size)
        data = encode_example({"name": b"a", "image": value})
        start, end = decode_example(data)["image"]
        assert data[start:end] == value


def test_volumes_stay_together_and_foreground_is_shared(folders):
    for path in write(folders):
        names = [image.name for image, _ in read_shard(str(path))]
        volumes = {name.split("_")[1] for name in names}
        assert len(names) == 6 and len(volumes) == 2
        assert len(volumes & {"2", "3"}) == 1  # those with foreground


def test_a_second_run_changes_nothing_and_another_number_leaves_no_old_shards(folders):
    first = {path.name: path.read_bytes() for path in write(folders)}
    assert {path.name: path.read_bytes() for path in write(folders)} == first
    write(folders, 3, group="none")
    left = sorted(path.name for path in (folders / "shards").iterdir())
    assert len(left) == 3 and all("-4.tfrec" in name for name in left)


def test_an_error_leaves_the_old_shards(folders):
    before = sorted(path.name for path in write(folders))
    picture = folders / "images/image_3_2.png"
    picture.write_bytes(picture.read_bytes()[:60])
    with pytest.raises(UserError, match=r"image_3_2\.png"):
        write(folders, 1)
    assert sorted(path.name for path in (folders / "shards").iterdir()) == before


@pytest.mark.parametrize(
    "value", ["shards", "shards/train-*.tfrec", "[shards/train-00-6.tfrec,shards/train-01-6.tfrec]"]
)
def test_folders_patterns_and_lists(folders, value):
    write(folders)
    assert len(find_pairs(config(folders, value), "train")) == 12


def test_another_file_system(folders):
    write(folders)
    pairs = find_pairs(config(folders, f"file://{folders}/shards"), "train")
    assert len(pairs) == 12
    assert pairs[0].image.read_bytes() == (folders / "images/image_0_0.png").read_bytes()


def problems_of(folder):
    return match_pairs(config(folder), "train")[1]


def test_damage_is_found_and_named(folders):
    path = write(folders, 1)[0]
    whole = path.read_bytes()
    for data, words in (
        (whole[:-3], "cut short"),
        (whole[:5], "cut short"),
        (whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], "checksum"),
        (bytes([whole[0] ^ 1]) + whole[1:], "checksum"),
    ):
        path.write_bytes(data)
        (problem,) = problems_of(folders)
        assert path.name in problem and words in problem


@pytest.mark.parametrize("feature", ["name", "mask_name"])
def test_names_with_escape_sequences(feature, tmp_path):
    features = {"image": b"x", "mask": b"x", "name": b"a.png", "mask_name": b"a.png", feature: b"\x1b[31m.png"}
    with open(tmp_path / "a.tfrec", "wb") as file:
        write_records(file, [encode_example(features)])
    with pytest.raises(UserError, match=r"record 0: the file name .* contains control characters"):
        read_shard(str(tmp_path / "a.tfrec"))


def test_a_wrong_count_in_the_name(folders):
    path = write(folders, 1)[0]
    path.rename(path.with_name("train-00-13.tfrec"))
    (problem,) = problems_of(folders)
    assert "train-00-13.tfrec: holds 12 records, its name says 13" in problem


def test_an_image_in_two_shards(folders):
    path = write(folders, 1)[0]
    path.with_name("train-01-12.tfrec").write_bytes(path.read_bytes())
    assert len(problems_of(folders)) == 12 and "train-00-12.tfrec too" in problems_of(folders)[0]


def test_a_truncated_picture_inside_a_shard(folders):
    whole = (folders / "mask/mask_0_0.png").read_bytes()
    (folders / "shards").mkdir()
    with open(folders / "shards/bad-00-1.tfrec", "wb") as file:
        write_records(file, [encode_example({"name": b"a.png", "image": whole[:60], "mask": whole})])
    command = ["train.py", f"WORK_DIR={folders}", *TINY, "DATA_GENERATOR_TYPE=TFRECORD"]
    result = run_command(*command, "DATASET.TRAIN.IMAGES_PATH=shards", "DATASET.VAL.IMAGES_PATH=shards")
    assert_one_clear_error(result, "bad-00-1.tfrec/a.png: the file is truncated")


def test_no_shards(folders):
    (folders / "shards").mkdir()
    for value, words in (
        ("shards", "TFRECORD needs"),
        ("shards/*.tfrec", "no .tfrec files"),
        ("images", "TFRECORD needs"),
    ):
        _, (problem,) = match_pairs(config(folders, value, "DATA_GENERATOR_TYPE=TFRECORD"), "train")
        assert words in problem


def test_the_command(folders, capsys):
    arguments = [str(folders / name) for name in ("images", "mask", "shards")]
    main([*arguments, "--name", "train", "--shards", "2"])
    main(["inspect", arguments[2]])
    printed = capsys.readouterr().out
    assert "train-01-6.tfrec: 6 pairs" in printed and "8x12 pixels" in printed and "values 0" in printed
    assert len(shards_of(folders / "shards")) == 2
    with pytest.raises(SystemExit):
        main([*arguments, "--shards", "5"])
    assert "4 groups" in capsys.readouterr().err


def test_a_shard_without_records_is_inspected(tmp_path, capsys):
    (tmp_path / "a-00-0.tfrec").touch()
    main(["inspect", str(tmp_path)])
    assert capsys.readouterr().out.startswith("a-00-0.tfrec: 0 pairs")


@pytest.mark.parametrize("name", ["a/b", "a\\b", "/tmp/a", "*", ""])
def test_a_name_that_is_no_file_name(name, folders, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*(str(folders / part) for part in ("images", "mask", "shards")), "--name", name])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and f"--name {name!r} must be the first part of a file name" in line
    assert not (folders / "shards").exists()


def test_shards_are_folds(folders, capsys):
    arguments = [str(folders / name) for name in ("images", "mask", "shards")]
    main([*arguments, "--folds", "4"])
    held_out = []
    for fold in range(4):
        cfg = config(folders, "null", "DATA_GENERATOR_TYPE=TFRECORD", "DATASET.FOLDS=shards", f"DATASET.FOLD={fold}")
        cfg = load_config([text for text in cfg.OVERRIDES if "TRAIN.IMAGES_PATH" not in text])
        train, val = ({pair.image.name for pair in find_pairs(cfg, split)} for split in ("train", "val"))
        assert len(train) == 9 and len(val) == 3 and not train & val
        assert len({name.split("_")[1] for name in val}) == 1  # a volume is not torn apart
        held_out += val
    assert len(set(held_out)) == 12
    main([*arguments, "--folds", "2"])
    assert len(list((folders / "shards").glob("*.txt"))) == 4 and len(shards_of(folders / "shards")) == 2
    shards_of(folders / "shards")[0].unlink()
    _, (problem,) = match_pairs(config(folders, "shards/fold1_train_images.txt"), "train")
    assert "train-00-6.tfrec does not exist" in problem
    with pytest.raises(SystemExit):
        main([*arguments, "--folds", "1"])
    assert "--folds 1 must be at least 2" in capsys.readouterr().err


def test_preparation_does_without_tensorflow(folders):
    code = (
        "import sys; from data_preparation.tfrecord import main; "
        f"main([{str(folders / 'images')!r}, {str(folders / 'mask')!r}, {str(folders / 'out')!r}, '--shards', '1']); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    result = run_command("-c", code, PYTHONPATH=str(PROJECT))
    assert result.returncode == 0, result.stderr


def test_training_and_evaluation_from_shards(phantom, tmp_path):
    for split in ("train", "val"):
        write_shards(phantom / f"data/{split}/images", phantom / f"data/{split}/mask", tmp_path, split, 1, "none")
    options = [
        f"WORK_DIR={tmp_path}",
        "MODEL.TYPE=unet",
        "MODEL.FILTERS=[2,2]",
        *TINY[2:],
        "DATA_GENERATOR_TYPE=TFRECORD",
        "DATASET.TRAIN.IMAGES_PATH=train-*.tfrec",
        "DATASET.VAL.IMAGES_PATH=val-*.tfrec",
        "VERBOSE=0",
        "augmentation=light",
        "loss=dice",
    ]
    train(load_config([*options, "HYPER_PARAMETERS.EPOCHS=1"]))
    evaluate(load_config([*options, "EVALUATION.BOOTSTRAP=0"]))
    rows = (tmp_path / "checkpoint/model_unet.evaluation/per_image.csv").read_text().splitlines()
    assert len(rows) == 11 and "image_" in rows[1]
