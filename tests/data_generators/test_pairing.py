"""Images and masks find each other by name, and everything that is wrong is named."""

import pytest

from data_generators.files.image_file import volume_and_slice
from data_generators.files.pairing import Pair, find_pairs, list_problems, match_pairs
from utils.base.errors import UserError
from utils.config import load_config


@pytest.fixture
def make(tmp_path):
    """Create empty files below the temporary folder and return a config that looks there."""

    def make_files(files, images="images", masks="mask"):
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        cfg = load_config([f"WORK_DIR={tmp_path}"])
        cfg.DATASET.TRAIN.IMAGES_PATH, cfg.DATASET.TRAIN.MASK_PATH = images, masks
        return cfg

    return make_files


def names(pairs):
    return [(pair.image.name, pair.mask and pair.mask.name) for pair in pairs]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("image_28_5.png", "mask_28_5.png"),
        ("image_28_5.jpg", "mask_28_5.png"),
        ("my_image.TIF", "my_mask.bmp"),
        ("cat.jpeg", "cat.png"),
        ("cat.tiff", "cat_mask.png"),
    ],
)
def test_a_mask_is_found_by_name(make, image, mask):
    assert names(find_pairs(make([f"images/{image}", f"mask/{mask}"]), "train")) == [(image, mask)]


def test_the_same_ending_and_the_likelier_name_win(make):
    files = ["mask/image_1.png", "mask/mask_1.bmp", "mask/mask_1.png", "mask/image_1_mask.png"]
    assert names(find_pairs(make(["images/image_1.png", *files]), "train")) == [("image_1.png", "mask_1.png")]


def test_folders_are_sorted_and_other_files_ignored(make):
    stems = ["b", "a", "c"]
    files = [f"{folder}/{stem}.png" for folder in ("images", "mask") for stem in stems]
    pairs = find_pairs(make([*files, "images/.hidden.png", "images/notes.txt", "mask/Thumbs.db"]), "train")
    assert names(pairs) == [("a.png", "a.png"), ("b.png", "b.png"), ("c.png", "c.png")]


def test_no_masks(make, tmp_path):
    pairs = find_pairs(make(["images/a.png"], masks=None), "train")
    assert pairs == [Pair(tmp_path / "images" / "a.png", None)]


def test_one_folder_for_both(make):
    files = ["all/image_1.png", "all/mask_1.png", "all/x.png", "all/x_mask.png"]
    pairs = find_pairs(make(files, images="all", masks="all"), "train")
    assert names(pairs) == [("image_1.png", "mask_1.png"), ("x.png", "x_mask.png")]


def test_lists_keep_their_order_and_match_by_name(make, tmp_path):
    files = ["i/image_2.png", "i/image_1.png", "m/mask_1.png", "m/mask_2.png"]
    absolute = [str(tmp_path / file) for file in files]
    pairs = find_pairs(make(files, images=absolute[:2], masks=absolute[2:]), "train")
    assert names(pairs) == [("image_2.png", "mask_2.png"), ("image_1.png", "mask_1.png")]


def test_lists_without_common_names_match_by_position(make):
    files = ["i/b.png", "i/a.png", "m/1.png", "m/2.png"]
    pairs = find_pairs(make(files, images=files[:2], masks=files[2:]), "train")
    assert names(pairs) == [("b.png", "1.png"), ("a.png", "2.png")]


def test_lists_over_several_folders_may_repeat_names(make, tmp_path):
    files = ["i/1/s.png", "i/2/s.png", "m/1/s.png", "m/2/s.png"]
    pairs = find_pairs(make(files, images=files[:2], masks=files[2:]), "train")
    assert [pair.mask for pair in pairs] == [tmp_path / "m/1/s.png", tmp_path / "m/2/s.png"]


def test_lists_with_some_common_names_do_not_fall_back_to_position(make):
    files = ["i/a.png", "i/b.png", "m/a.png", "m/z.png"]
    with pytest.raises(UserError, match=r"b\.png: no mask in DATASET\.TRAIN\.MASK_PATH"):
        find_pairs(make(files, images=files[:2], masks=files[2:]), "train")


def test_a_missing_folder_names_key_path_and_fix(make, tmp_path):
    with pytest.raises(UserError) as error:
        find_pairs(make(["mask/a.png"]), "train")
    for part in ("DATASET.TRAIN.IMAGES_PATH=images", str(tmp_path / "images"), "WORK_DIR"):
        assert part in str(error.value)


def test_an_empty_folder_names_the_endings(make, tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"holds no pictures \(\.png"):
        find_pairs(make(["mask/a.png"]), "train")


def test_missing_list_entries_are_all_named(make):
    _, problems = match_pairs(make(["a.png"], images=["a.png", "b.png", "c.png"], masks=None), "train")
    assert len(problems) == 2
    assert "b.png does not exist" in problems[0]


def test_no_images_at_all_is_an_error(make):
    with pytest.raises(UserError, match=r"IMAGES_PATH is not set"):
        find_pairs(make([], images=None, masks=None), "train")


def test_two_images_must_not_share_a_mask(make):
    with pytest.raises(UserError, match=r"mask of two images, .*a\.jpg and .*a\.png"):
        find_pairs(make(["images/a.png", "images/a.jpg", "mask/a.png"]), "train")


def test_equal_problems_are_one_line_with_a_count_and_three_names(make):
    files = [f"images/image_{index}.png" for index in range(30)] + ["mask/other.png"]
    with pytest.raises(UserError) as error:
        find_pairs(make(files), "train")
    (line,) = [line for line in str(error.value).splitlines() if "no mask in" in line]
    assert line.startswith("  30 times (image_0.png, image_1.png, image_10.png, ...): /")


def test_twenty_different_problems_are_shown_and_the_rest_counted():
    lines = list_problems([f"/d/a.png: holds the value {value}." for value in range(30)]).splitlines()
    assert len(lines) == 21 and lines[-1] == "  ... and 10 more"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("image_28_5.png", ("28", 5)),
        ("/data/image_0_012.png", ("0", 12)),
        ("patient_a_7.tif", ("patient_a", 7)),
        ("image_3.png", ("image", 3)),
        ("12.png", None),
        ("image_5_b.png", None),
        ("slice5.png", None),
    ],
)
def test_volume_and_slice(name, expected):
    assert volume_and_slice(name) == expected


def test_list_files(tmp_path):
    for kind in ("images", "mask"):
        (tmp_path / kind).mkdir()
        for name in "abc":
            (tmp_path / kind / f"{name}.png").touch()
        lines = "".join(f"{kind}/{name}.png\n" for name in "cb")
        (tmp_path / f"{kind}.txt").write_text(lines + "\n")
    cfg = load_config([f"WORK_DIR={tmp_path}", "DATASET.VAL.IMAGES_PATH=images.txt", "DATASET.VAL.MASK_PATH=mask.txt"])
    pairs = find_pairs(cfg, "val")
    assert [(pair.image.stem, pair.mask.parent.name) for pair in pairs] == [("c", "mask"), ("b", "mask")]
    (tmp_path / "images.txt").write_text("images/z.png\n")
    with pytest.raises(UserError, match=r"z\.png does not exist"):
        find_pairs(cfg, "val")
    (tmp_path / "images.txt").unlink()
    with pytest.raises(UserError, match=r"IMAGES_PATH: .*images\.txt cannot be read"):
        find_pairs(cfg, "val")
