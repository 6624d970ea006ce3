"""Pages of a TIFF file are samples, in training, verification, preparations and prediction; what is no image is not."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from data_generators import build_dataset
from data_generators.files.image_file import volume_and_slice
from data_generators.files.pairing import find_pairs
from data_generators.reading.cache import MemoryCache, stamp_of_file
from data_generators.reading.decoding import read_image
from data_generators.reading.masks import read_mask
from data_generators.reading.tiff_pages import TiffPageFile, pages_of, split_pages
from data_preparation import index_masks
from data_preparation.tfrecord import write_shards
from data_preparation.verify_data import verify_data
from utils.base.errors import UserError
from utils.config import load_config

RNG = np.random.default_rng(0)
PAGES = RNG.integers(0, 256, (4, 16, 16), np.uint8)
LABELS = (PAGES > 99).astype(np.uint8)


def write(path, pages, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pages, **({"photometric": "minisblack"} | options))
    return path


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val"):
        write(tmp_path / f"data/{split}/images/cells.tif", PAGES if split == "train" else 255 - PAGES)
        write(tmp_path / f"data/{split}/mask/cells_mask.tif", LABELS, compression="lzw")
    return tmp_path


def config(folder, *overrides):
    return load_config(
        [f"WORK_DIR={folder}", "INPUT.HEIGHT=16", "INPUT.WIDTH=16", "loss=dice", "VERBOSE=0", *overrides]
    )


def test_every_page_is_a_sample(folder):
    pairs = find_pairs(config(folder), "train")
    assert [pair.image.name for pair in pairs] == [f"cells_{page}.tif" for page in range(4)]
    assert volume_and_slice(pairs[3].image) == ("cells", 3)
    for number, pair in enumerate(pairs):
        np.testing.assert_array_equal(read_image(pair.image, 1)[:, :, 0], PAGES[number])
        np.testing.assert_array_equal(read_mask(pair.mask), LABELS[number])


def test_in_training_and_verification(folder):
    cfg = config(folder, "DATASET.REPORT_PATH=report.json", "HYPER_PARAMETERS.BATCH_SIZE=2")
    assert len(build_dataset(cfg, "train").samples) == 4
    images = np.concatenate([batch[0] for batch in build_dataset(cfg, "val")])
    np.testing.assert_allclose(images[:, :, :, 0], (255 - PAGES) / np.float32(255), atol=1e-6)
    verify_data(cfg)


def test_in_preparations(folder):
    index_masks.main([str(folder / "data/train/images"), str(folder / "data/train/mask"), str(folder / "out"),
                      "--mask-suffix", "_mask", "--val", "0", "--quiet"])  # fmt: skip
    for number in range(4):
        image = cv2.imread(str(folder / f"out/train/images/cells_{number}.png"), cv2.IMREAD_UNCHANGED)
        mask = cv2.imread(str(folder / f"out/train/mask/cells_{number}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(image, PAGES[number])
        np.testing.assert_array_equal(mask, LABELS[number])
    write_shards(folder / "data/train/images", folder / "data/train/mask", folder / "shards", "train", 1)
    cfg = config(folder, "DATA_GENERATOR_TYPE=TFRECORD", "DATASET.TRAIN.IMAGES_PATH=shards")
    pairs = find_pairs(cfg, "train")
    assert [pair.image.stem for pair in pairs] == [f"cells_{page}" for page in range(4)]
    np.testing.assert_array_equal(read_image(pairs[2].image, 1)[:, :, 0], PAGES[2])


def test_a_cache_tells_pages_apart(folder):
    pages = pages_of(folder / "data/train/images/cells.tif")
    cache = MemoryCache()
    for page in (*pages, *pages):
        (found,) = cache([page], "", lambda page=page: (read_image(page, 1),))
        np.testing.assert_array_equal(found[:, :, 0], PAGES[page.page])
    assert stamp_of_file(pages[0]) != stamp_of_file(pages[1])


def test_another_number_of_pages_is_an_error(folder):
    write(folder / "data/train/mask/cells_mask.tif", LABELS[:3])
    with pytest.raises(UserError, match=r"cells_mask\.tif: the number of its pages is 3, that of its image .* 4"):
        find_pairs(config(folder), "train")


def test_a_page_with_the_name_of_another_image_is_an_error(folder):
    write(folder / "data/train/images/cells_2.tif", PAGES[0])
    write(folder / "data/train/mask/cells_2_mask.tif", LABELS[0])
    with pytest.raises(UserError, match=r"cells\.tif: one of its pages has the name of .*cells_2\.tif\. Rename one"):
        find_pairs(config(folder), "train")


def test_no_reader_takes_the_first_page_in_silence(folder):
    with pytest.raises(UserError, match=r"cells\.tif: has 4 pages, one picture is wanted"):
        read_image(folder / "data/train/images/cells.tif", 1)
    with pytest.raises(UserError, match=r"cells_mask\.tif: has 4 pages"):
        read_mask(folder / "data/train/mask/cells_mask.tif")


@pytest.mark.parametrize("photometric", ["rgb", "minisblack", "miniswhite", "palette"])
def test_pages_of_every_kind_keep_their_values(tmp_path, photometric):
    pages = RNG.integers(0, 200, (3, 16, 16, 3) if photometric == "rgb" else (3, 16, 16), np.uint8)
    options = {"colormap": RNG.integers(0, 2**16, (3, 256)).astype(np.uint16)} if photometric == "palette" else {}
    path = write(tmp_path / "a.tif", pages, photometric=photometric, **options)
    for number, page in enumerate(pages_of(path)):
        alone = write(tmp_path / "b.tif", pages[number], photometric=photometric, **options)
        np.testing.assert_array_equal(read_image(page, 3), read_image(alone, 3))


# What is in a file beside its image


def with_second_page(path, **options):
    with tifffile.TiffWriter(path) as file:
        file.write(PAGES[0], photometric="minisblack", metadata=None)
        file.write(PAGES[1][:8, :8], photometric="minisblack", metadata=None, **options)
    return path


def test_a_marked_thumbnail_is_no_image(tmp_path):
    path = with_second_page(tmp_path / "a.tif", subfiletype=1)
    assert split_pages(path) == [path]
    np.testing.assert_array_equal(read_image(path, 1)[:, :, 0], PAGES[0])


def test_pages_of_other_sizes_are_refused(tmp_path):
    path = with_second_page(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: has pages of different sizes \(16x16x1 and 8x8x1"):
        read_image(path, 1)


def test_slices_of_a_hyperstack_are_images_and_its_channels_are_not(tmp_path):
    for options in ({"imagej": True, "metadata": {"axes": "ZYX"}}, {"ome": True, "metadata": {"axes": "TYX"}}):
        assert len(pages_of(write(tmp_path / "a.tif", PAGES, **options))) == 4
    for options in ({"imagej": True}, {"ome": True}):
        path = write(tmp_path / "b.tif", PAGES, **options, metadata={"axes": "CYX"})
        with pytest.raises(UserError, match=r"b\.tif: its 4 pages are 4 channels of a hyperstack"):
            pages_of(path)


@pytest.mark.parametrize("options", [{"metadata": {"axes": "ZYX"}, "truncate": True}])
def test_a_stack_of_one_directory_is_refused(tmp_path, options):
    path = write(tmp_path / "a.tif", PAGES, **options)
    for read in (split_pages, lambda path: read_image(path, 1)):
        with pytest.raises(UserError, match=r"a\.tif: is a stack of .* with more images than directories"):
            read(path)


def test_a_damaged_chain_of_pages(tmp_path):
    path = write(tmp_path / "a.tif", PAGES, metadata=None)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"a\.tif: cannot be decoded; the TIFF file is damaged"):
        pages_of(path)


def test_names_of_a_page():
    page = TiffPageFile(Path("x/a.tif"), 3)
    assert (page.name, page.stem, str(page)) == ("a_3.tif", "a_3", "x/a.tif[page 3]")
