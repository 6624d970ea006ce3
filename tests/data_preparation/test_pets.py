"""Oxford-IIIT Pet in its published form becomes pairs, oddities included; bad input ends with one line."""

import cv2
import numpy as np
from public_format_helpers import colour, files, make_pets, refuse, run, save

from data_generators.reading.masks import read_mask
from data_preparation import pets


def test_pets(tmp_path, capsys):
    source, output = make_pets(tmp_path / "pets"), tmp_path / "data"
    report = run(pets, capsys, source, output, "--val", 0.25)
    assert "train: 3 pairs" in report and "val: 1 pair" in report and "test: 2 pairs" in report
    assert "unlisted_1.jpg: in neither list" in report and report.count("hidden, or left behind") == 6
    assert sorted(files(output / "test")) == [
        "images/pug_1.jpg",
        "images/pug_2.jpg",
        "mask/pug_1.png",
        "mask/pug_2.png",
    ]
    for name in ("pug_1", "pug_2"):
        assert (output / f"test/images/{name}.jpg").read_bytes() == (source / f"images/{name}.jpg").read_bytes()
        trimap = cv2.imread(str(source / f"annotations/trimaps/{name}.png"), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(read_mask(output / f"test/mask/{name}.png"), trimap - 1)


def test_a_picture_that_is_not_what_its_name_says(tmp_path, capsys):
    """Some .jpg files of the pets are PNG or GIF."""
    source, output = make_pets(tmp_path / "pets"), tmp_path / "data"
    (source / "images/pug_1.jpg").write_bytes(cv2.imencode(".png", colour())[1].tobytes())
    run(pets, capsys, source, output)
    assert (output / "test/images/pug_1.png").exists() and not (output / "test/images/pug_1.jpg").exists()


def test_bad_pets(tmp_path, capsys):
    source, output = make_pets(tmp_path / "pets"), tmp_path / "data"
    assert "--test: the test split is published" in refuse(pets, capsys, output, source, output, "--test", 0.1)
    trainval = source / "annotations/trainval.txt"
    text = trainval.read_text()
    trainval.write_text(text + "Abyssinian_2 1 1 1\n")
    assert "Abyssinian_2 is listed twice" in refuse(pets, capsys, output, source, output)
    trainval.write_text(text + "pug_1 1 1 1\n")
    assert "pug_1 is in trainval.txt and in test.txt" in refuse(pets, capsys, output, source, output)
    trainval.write_text(text + "beagle_1 1 1 1\n")
    assert "beagle_1 is listed, but there is no" in refuse(pets, capsys, output, source, output)
    trainval.write_text(text)
    assert not output.exists()
    save(source / "annotations/trimaps/pug_2.png", np.full((6, 8), 4, np.uint8))
    assert "pug_2.png: contains the values [4]" in refuse(pets, capsys, output, source, output)
    whole = save(source / "images/pug_1.jpg", colour(60, 80)).read_bytes()
    (source / "images/pug_1.jpg").write_bytes(whole[: len(whole) // 2])
    assert "pug_1.jpg: the file is truncated" in refuse(pets, capsys, output, source, output)


def test_pets_without_tensorflow_datasets(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)
    error = refuse(pets, capsys, tmp_path / "data", "tfds", tmp_path / "data")
    assert "pip install tensorflow-datasets" in error


def test_pets_through_tensorflow_datasets(tmp_path, capsys, monkeypatch):
    class Fake:
        as_numpy = staticmethod(lambda dataset: dataset)

        @staticmethod
        def load(name, split):
            assert name.startswith("oxford_iiit_pet")
            trimap = np.arange(48, dtype=np.uint8).reshape(6, 8, 1) % 3 + 1
            names = {"train": ["a_1", "a_2"], "test": ["b_1"]}[split]
            return [
                {
                    "file_name": f"{name}.jpg".encode(),
                    "image": np.full((6, 8, 3), [9, 0, 0], np.uint8),
                    "segmentation_mask": trimap,
                }
                for name in names
            ]

    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", Fake)
    run(pets, capsys, "tfds", tmp_path / "data", "--val", 0.5)
    image = cv2.imread(str(tmp_path / "data/test/images/b_1.png"))
    assert image[0, 0].tolist() == [0, 0, 9]  # OpenCV reads blue, green, red
    assert read_mask(tmp_path / "data/test/mask/b_1.png")[0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
