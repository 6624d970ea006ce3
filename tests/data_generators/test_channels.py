"""Channels from several files, chosen bands and neighbouring slices: found, read alike by all loaders, or refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from helpers import installed, source_of

from data_generators import LOADERS, build_dataset
from data_generators.files.channels import find_cases
from data_generators.files.image_file import ImageParts
from data_generators.files.neighbours import with_neighbours
from data_generators.files.pairing import find_pairs, match_pairs
from data_generators.loaders.dali_records import encoded_image
from data_generators.reading.cache import FolderCache, MemoryCache
from data_generators.reading.decoding import read_image, resize_image
from data_generators.reading.samples import ReadSettings, read_pair
from data_preparation.split import split
from data_preparation.tfrecord import write_shards
from data_preparation.verify_data import verify_data
from utils.base.errors import UserError
from utils.config import load_config

SIZE = (8, 12)
BANDS = ["DATASET.CHANNELS=null", "DATASET.BANDS=[1,2]"]
TWO = ["DATASET.CHANNELS=[t1,t2]", "INPUT.CHANNELS=2", "INPUT.HEIGHT=8", "INPUT.WIDTH=12"]


def write(path, value, size=SIZE):
    """A picture of one value, or of the array given, by OpenCV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = value if isinstance(value, np.ndarray) else np.full(size, value, np.uint8)
    assert cv2.imwrite(str(path), array)


def settings_of(folder, *overrides):
    images, mask = folder / "images", folder / "mask"
    paths = [f"DATASET.{split}.{key}" for split in ("TRAIN", "VAL") for key in ("IMAGES_PATH", "MASK_PATH")]
    return load_config(
        [
            f"WORK_DIR={folder}",
            "loss=dice",
            *(f"{key}={images if 'IMAGES' in key else mask}" for key in paths),
            *overrides,
        ]
    )


def values_of(cfg, pair):
    """The value of each channel of an image of one value in each, of which all pixels are looked at."""
    image, _ = read_pair(pair, ReadSettings.from_config(cfg))
    assert (image == image[:1, :1]).all()
    return image[0, 0].tolist()


def make_cases(folder, form, cases=("a", "b")):
    """Files with the value 10 times the number of the case, plus that of the channel."""
    for number, case in enumerate(cases, start=1):
        for channel in (1, 2):
            write(folder / "images" / form.format(case=case, channel=f"t{channel}"), 10 * number + channel)
        write(folder / "mask" / f"{case}.png", 1)


FORMS = [
    "{channel}/{case}.png",
    "{case}_{channel}.png",
    "{case}/{channel}.png",
    "{case}/{case}_{channel}.png",
    "{channel}-{case}.png",
    "{case}.{channel}.png",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_says_in_many_ways_of_which_channel_it_is(form):
    files = [Path("/d") / form.format(case=case, channel=channel) for case in "ab" for channel in ("t2", "t1")]
    found = find_cases(files, ["t1", "t2"], Path("/d"))
    assert [(image.stem, image.parts) for image in found.images] == [
        ("a", (files[1], files[0])),
        ("b", (files[3], files[2])),
    ]
    assert (found.others, found.problems) == ([], [])


def test_files_of_a_case_become_channels(tmp_path):
    make_cases(tmp_path, "{channel}/{case}.png")
    cfg = settings_of(tmp_path, *TWO)
    pairs = find_pairs(cfg, "train")
    assert [(pair.image.stem, pair.mask.name) for pair in pairs] == [("a", "a.png"), ("b", "b.png")]
    assert [values_of(cfg, pair) for pair in pairs] == [[11, 12], [21, 22]]
    turned = settings_of(tmp_path, *TWO, "DATASET.CHANNELS=[t2,t1]")
    assert values_of(turned, find_pairs(turned, "train")[0]) == [12, 11]


def test_patterns_name_any_layout(tmp_path):
    make_cases(tmp_path, "{channel}/scan-{case}-{channel}w.png")
    cfg = settings_of(tmp_path, *TWO, "DATASET.CHANNELS=['t1/scan-*-t1w.png','t2/scan-*-t2w.png']")
    assert [pair.image.stem for pair in find_pairs(cfg, "train")] == ["a", "b"]


def test_lists_hold_the_files_of_all_channels(tmp_path):
    make_cases(tmp_path, "{case}_{channel}.png")
    names = [f"images/{case}_{channel}.png" for case in "ba" for channel in ("t2", "t1")]
    (tmp_path / "images.txt").write_text("\n".join(names))
    cfg = settings_of(tmp_path, *TWO, f"DATASET.TRAIN.IMAGES_PATH={tmp_path}/images.txt")
    pairs = find_pairs(cfg, "train")
    assert [(pair.image.stem, values_of(cfg, pair)) for pair in pairs] == [("b", [21, 22]), ("a", [11, 12])]


def test_masks_may_lie_beside_the_channels(tmp_path):
    make_cases(tmp_path, "{case}_{channel}.png", cases=("a",))
    (tmp_path / "mask/a.png").rename(tmp_path / "images/a_mask.png")
    cfg = settings_of(tmp_path, *TWO, f"DATASET.TRAIN.MASK_PATH={tmp_path}/images")
    assert [pair.mask.name for pair in find_pairs(cfg, "train")] == ["a_mask.png"]


def test_names_that_contain_others(tmp_path):
    names = ["p_t1.png", "p_t1ce.png", "p_ce_t1.png"]
    found = find_cases([Path(f"/d/{name}") for name in names], ["t1", "t1ce", "ce_t1"], Path("/d"))
    assert [[part.name for part in image.parts] for image in found.images] == [names]


def test_what_is_missing_or_too_much_is_listed_together(tmp_path, capsys):
    make_cases(tmp_path, "{channel}/{case}.png", cases=("a", "b", "c"))
    (tmp_path / "images/t2/b.png").unlink()
    write(tmp_path / "images/t1/c.bmp", 0)
    write(tmp_path / "images/flair/c.png", 0)
    (tmp_path / "mask/a.png").unlink()
    cfg = settings_of(tmp_path, *TWO)
    pairs, problems = match_pairs(cfg, "train")
    assert [pair.image.stem for pair in pairs] == ["c"]
    text = "\n".join(problems)
    assert "t1/b.png: has no partner in t2" in text and "as " in text and "c.bmp" in text and "no mask" in text
    with pytest.raises(UserError, match="the data has 6 problems"):
        verify_data(cfg)
    for path in ("images/t1/c.bmp", "images/t1/b.png"):
        (tmp_path / path).unlink()
    write(tmp_path / "mask/a.png", 1)
    verify_data(cfg, ["train"])
    assert "1 file is not read, such as" in (err := capsys.readouterr().err) and "flair/c.png" in err


def test_a_channel_without_a_file(tmp_path):
    make_cases(tmp_path, "{case}_{channel}.png")
    cfg = settings_of(tmp_path, "DATASET.CHANNELS=[t1,flair]", "INPUT.CHANNELS=2")
    with pytest.raises(UserError, match=r"no file of the channel flair .*a folder flair, names that end in _flair"):
        find_pairs(cfg, "train")


def test_sizes_that_differ_are_one_line(tmp_path):
    make_cases(tmp_path, "{channel}/{case}.png", cases=("a",))
    write(tmp_path / "images/t2/a.png", 0, (4, 4))
    with pytest.raises(UserError, match=r"t2/a.png: is 4x4 .*t1/a.png of the same image 8x12"):
        verify_data(settings_of(tmp_path, *TWO), ["train"])


def test_damage_in_any_channel_is_found(tmp_path):
    make_cases(tmp_path, "{channel}/{case}.png", cases=("a",))
    path = tmp_path / "images/t2/a.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"t2/a.png: the file is truncated"):
        verify_data(settings_of(tmp_path, *TWO), ["train"])


def test_8_and_16_bit_and_colours(tmp_path):
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    write(files[0], 255)
    write(files[1], np.full(SIZE, 1000, np.uint16))
    write(files[2], np.full((*SIZE, 3), 7, np.uint8))  # grey, saved as colours
    image = read_image(ImageParts(tuple(files), "case", tmp_path, files[0]), 3)
    assert image.dtype == np.uint16 and image[0, 0].tolist() == [65535, 1000, 7 * 257]
    write(files[2], np.dstack([np.full(SIZE, value, np.uint8) for value in (1, 2, 3)]))
    with pytest.raises(UserError, match=r"c.png: has three different bands.*DATASET.BANDS=\[2\]"):
        read_image(ImageParts(tuple(files), "case", tmp_path, files[0]), 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_bands_are_chosen_in_their_order(dtype, tmp_path):
    raster = np.arange(1, 9, dtype=dtype) * np.ones((*SIZE, 1), dtype)
    tifffile.imwrite(tmp_path / "a.tif", raster, photometric="minisblack", planarconfig="contig")
    value_range = (0, 65535) if dtype in (np.int16, np.float32) else None
    image = read_image(tmp_path / "a.tif", 3, value_range, bands=(4, 3, 8))
    assert image[0, 0].tolist() == [4, 3, 8] and image.flags.c_contiguous
    with pytest.raises(UserError, match=r"a.tif: has 8 bands, DATASET.BANDS=\[9\] asks for band 9. The first is 1"):
        read_image(tmp_path / "a.tif", 1, value_range, bands=(9,))
    tifffile.imwrite(tmp_path / "a.tif", raster[..., 0])
    with pytest.raises(UserError, match=r"has 1 band, .* Leave DATASET.BANDS out"):
        read_image(tmp_path / "a.tif", 1, value_range, bands=(2,))


def test_bands_of_files_that_are_channels_are_said_to_be_of_each_file():
    with pytest.raises(UserError, match=r"INPUT.CHANNELS=4 \(2 x 2\). .* has one band, leave it out.*CHANNELS=2"):
        load_config(["DATASET.CHANNELS=[t1,t2]", "DATASET.BANDS=[1,2]", "INPUT.CHANNELS=2"])


def test_bands_of_colours_count_from_red(tmp_path):
    write(tmp_path / "a.png", np.full((*SIZE, 4), (3, 2, 1, 255), np.uint8))  # OpenCV writes BGRA
    assert read_image(tmp_path / "a.png", 4, bands=(1, 2, 3, 4))[0, 0].tolist() == [1, 2, 3, 255]
    write(tmp_path / "b.png", np.full((*SIZE, 3), (3, 2, 1), np.uint8))
    assert read_image(tmp_path / "b.png", 2, bands=(3, 1))[0, 0].tolist() == [3, 1]


def make_volumes(folder, names=("image_3_0", "image_3_1", "image_3_2", "image_7_4", "image_7_5")):
    for number, name in enumerate(names):
        write(folder / f"images/{name}.png", 10 * number + 5)
        write(folder / f"mask/{name.replace('image', 'mask')}.png", 1)


def test_neighbours_of_one_volume_are_channels(tmp_path):
    make_volumes(tmp_path)
    for around, expected in ((1, [[5, 5, 15], [5, 15, 25], [15, 25, 25], [35, 35, 45], [35, 45, 45]]), (0, None)):
        cfg = settings_of(
            tmp_path, f"DATASET.SLICES_AROUND={around}", "INPUT.CHANNELS=3", "INPUT.HEIGHT=8", "INPUT.WIDTH=12"
        )
        found = [values_of(cfg, pair) for pair in find_pairs(cfg, "train")]
        assert found == (expected or [[10 * number + 5] * 3 for number in range(5)])
    wide = settings_of(tmp_path, "DATASET.SLICES_AROUND=2", "INPUT.CHANNELS=5", "INPUT.HEIGHT=8", "INPUT.WIDTH=12")
    assert values_of(wide, find_pairs(wide, "train")[3]) == [35, 35, 35, 45, 45]


def test_slices_of_several_channels(tmp_path):
    for number in range(2):
        for channel in (1, 2):
            write(tmp_path / f"images/t{channel}/image_1_{number}.png", 10 * number + channel)
        write(tmp_path / f"mask/mask_1_{number}.png", 1)
    cfg = settings_of(tmp_path, *TWO, "DATASET.SLICES_AROUND=1", "INPUT.CHANNELS=6")
    assert [values_of(cfg, pair) for pair in find_pairs(cfg, "train")] == [[1, 2, 1, 2, 11, 12], [1, 2, 11, 12, 11, 12]]


def test_slices_that_are_none_or_missing(tmp_path):
    make_volumes(tmp_path, ("image_3_0", "image_3_2", "other"))
    cfg = settings_of(tmp_path, "DATASET.SLICES_AROUND=1")
    with pytest.raises(UserError) as error:
        verify_data(cfg, ["train"])
    assert "other.png: is no slice of a volume" in str(error.value)
    assert "slice 1 of volume 3 is missing" in str(error.value)
    assert with_neighbours([Path("a_1.png")], 0) == ([Path("a_1.png")], [])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["DATASET.CHANNELS=[t1,t2,flair]", "INPUT.CHANNELS=1"], "Set INPUT.CHANNELS=3."),
        (["DATASET.BANDS=[4,3]", "DATASET.SLICES_AROUND=2"], "Set INPUT.CHANNELS=10 (2 x 5)."),
        (["DATASET.SLICES_AROUND=2"], "INPUT.CHANNELS=5 for grey slices, 15 for colours"),
        (["DATASET.BANDS=[]"], "at least one band"),
        (["DATASET.BANDS=[0]", "INPUT.CHANNELS=1"], "DATASET.BANDS"),
        (["DATASET.CHANNELS=[t1,t1]", "INPUT.CHANNELS=2"], "different names"),
        (["DATASET.CHANNELS=['*_t1.png',t2]", "INPUT.CHANNELS=2"], "is a pattern and t2 is none"),
        (["DATASET.CHANNELS=[a/t1,a/t2]", "INPUT.CHANNELS=2"], "is a path"),
        (["MODEL.TYPE=classifier", "DATASET.CHANNELS=[a,b]"], "DATASET.BANDS chooses"),
    ],
)
def test_settings_that_contradict_each_other(overrides, words):
    with pytest.raises(UserError) as error:
        load_config(overrides)
    assert words in str(error.value)


def test_caches_know_all_files_and_the_bands(tmp_path):
    make_cases(tmp_path, "{channel}/{case}.png", cases=("a",))
    cfg = settings_of(tmp_path, *TWO)
    (pair,) = find_pairs(cfg, "train")
    for cache in (MemoryCache(), FolderCache(tmp_path / "cache")):

        def read(value, cache=cache):
            return cache(pair, "settings", lambda: (np.full((2, 2, 1), value, np.uint8), None))[0][0, 0, 0]

        assert (read(1), read(2)) == (1, 1)
        write(tmp_path / "images/t2/a.png", np.random.default_rng(len(str(cache))).integers(0, 9, SIZE, np.uint8))
        assert read(3) == 3
    keys = {ReadSettings.from_config(settings_of(tmp_path, *TWO, *more)).decoding_key for more in ([], BANDS)}
    assert len(keys) == 2


def test_dali_is_given_the_joined_image(tmp_path):
    make_volumes(tmp_path)
    cfg = settings_of(tmp_path, "DATASET.SLICES_AROUND=1", "INPUT.HEIGHT=8", "INPUT.WIDTH=12")
    settings = ReadSettings.from_config(cfg)
    data, size = encoded_image(find_pairs(cfg, "train")[1].image, settings, only_8_bit=True)
    assert size == SIZE
    assert cv2.imdecode(data, cv2.IMREAD_UNCHANGED)[0, 0].tolist() == [25, 15, 5]  # BGR


def test_lists_and_shards_of_several_files(tmp_path):
    make_cases(tmp_path, "{channel}/{case}.png")
    folders = tmp_path / "images", tmp_path / "mask"
    lists = split(*folders, tmp_path / "lists", folds=2, channels=["t1", "t2"])
    assert [len(lists[f"fold0_{name}.txt"]) for name in ("train_images", "train_masks")] == [2, 1]
    cfg = load_config([*TWO, f"WORK_DIR={tmp_path}", "loss=dice", "DATASET.FOLDS=lists", "DATASET.FOLD=1"])
    assert len(find_pairs(cfg, "val")) == 1 and len(find_pairs(cfg, "train")) == 1
    write_shards(*folders, tmp_path / "shards", "train", 1, channels=["t1", "t2"])
    shards = settings_of(tmp_path, *TWO, f"DATASET.TRAIN.IMAGES_PATH={tmp_path}/shards")
    assert [values_of(shards, pair) for pair in find_pairs(shards, "train")] == [[11, 12], [21, 22]]
    both = settings_of(tmp_path, *TWO, f"DATASET.TRAIN.IMAGES_PATH={tmp_path}/shards", "DATASET.BANDS=[1]")
    with pytest.raises(UserError, match=r"Leave DATASET.BANDS out"):
        find_pairs(both, "train")


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_all_loaders_give_the_same_arrays(loader, tmp_path):
    """Slices of a volume with their neighbours, and another band than the first, from files and from shards."""
    for split_name in ("train", "val"):
        make_volumes(tmp_path / "data" / split_name)
    cfg = load_config(
        [
            f"WORK_DIR={tmp_path}",
            f"DATA_GENERATOR_TYPE={loader}",
            *("INPUT.HEIGHT=8", "INPUT.WIDTH=12", "loss=dice", "HYPER_PARAMETERS.BATCH_SIZE=2"),
            *("DATASET.SLICES_AROUND=1", "DATASET.BANDS=[1]", "INPUT.CHANNELS=3", *source_of(loader, tmp_path)),
        ]
    )
    batches = [np.asarray(images) for images, _ in build_dataset(cfg, "val")]
    found = np.concatenate(batches)
    expected = np.array([[5, 5, 15], [5, 15, 25], [15, 25, 25], [35, 35, 45], [35, 45, 45]]) / 255
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], (5, 8, 12, 3)), atol=1e-6)


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_all_loaders_join_the_files_of_an_image(loader, tmp_path):
    names, paths = ["t2", "t1", "t3"], []
    for split_name in ("train", "val"):
        folder = tmp_path / "data" / split_name
        for number, case in enumerate("ab", start=1):
            for channel in (1, 2, 3):
                write(folder / f"images/t{channel}/{case}.png", 10 * number + channel)
            write(folder / f"mask/{case}.png", 1)
        images, masks = folder / "images", folder / "mask"
        if loader == "TFRECORD":
            images = tmp_path / "shards" / split_name
            write_shards(folder / "images", masks, images, split_name, 1, channels=names)
        key = f"DATASET.{split_name.upper()}"
        paths += [f"{key}.IMAGES_PATH={images}", f"{key}.MASK_PATH={masks}"]
    sizes = ["INPUT.HEIGHT=8", "INPUT.WIDTH=12", "INPUT.CHANNELS=3", "HYPER_PARAMETERS.BATCH_SIZE=2", "loss=dice"]
    cfg = load_config(
        [f"WORK_DIR={tmp_path}", f"DATA_GENERATOR_TYPE={loader}", "DATASET.CHANNELS=[t2,t1,t3]", *sizes, *paths]
    )
    found = np.concatenate([np.asarray(images) for images, _ in build_dataset(cfg, "val")])
    expected = np.array([[12, 11, 13], [22, 21, 23]]) / 255
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], (2, 8, 12, 3)), atol=1e-6)


def test_pages_are_images_of_their_own(tmp_path):
    for channel, values in (("t1", (1, 2)), ("t2", (3, 4))):
        (tmp_path / f"images/{channel}").mkdir(parents=True)
        stack = np.stack([np.full(SIZE, value, np.uint8) for value in values])
        tifffile.imwrite(tmp_path / f"images/{channel}/a.tif", stack, photometric="minisblack")
    cfg = settings_of(tmp_path, *TWO, "DATASET.TRAIN.MASK_PATH=null")
    found = [(pair.image.stem, values_of(cfg, pair)) for pair in find_pairs(cfg, "train")]
    assert found == [("a_0", [1, 3]), ("a_1", [2, 4])]
    tifffile.imwrite(tmp_path / "images/t2/a.tif", stack[:1], photometric="minisblack")
    with pytest.raises(UserError, match=r"t2/a.tif: the number of its pages is 1, .* file of the same image, 2"):
        find_pairs(cfg, "train")


def test_more_channels_than_opencv_takes_are_resized():
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 300), np.uint8)
    for size in ((4, 3), (16, 12)):
        found = resize_image(image, *size)
        alone = resize_image(image[..., [0, 150, 299]], *size)
        np.testing.assert_allclose(found[..., [0, 150, 299]], alone, atol=1)  # by a rounding
