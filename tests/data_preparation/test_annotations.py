"""`annotations.py`: every form of one scene becomes the same mask; classes, splits, options, hostile and odd files."""

import json

import numpy as np
import pytest
from annotation_form_helpers import (
    CAT,
    DOG,
    HEIGHT,
    MAKERS,
    NAME,
    WIDTH,
    coco_content,
    cvat_polygon,
    cvat_text,
    exif_jpeg,
    labelme_content,
    labelme_shape,
    make_labelme,
    make_voc,
    picture,
    png_text,
    reference,
    scene,
    write_json,
    yolo_line,
)
from public_format_helpers import files, refuse, run

from data_generators.reading.decoding import read_image
from data_generators.reading.masks import read_mask
from data_preparation import annotations
from data_preparation.annotation_forms.forms import FORMS
from data_preparation.common.colour_tables import read_table

TRAIN = ("--val", 0)


def convert(capsys, source, *options):
    """Run the command on a source; returns `(report, {name: mask})` of the training split."""
    output = source.parent / f"{source.name}_out"
    report = run(annotations, capsys, source, output, *TRAIN, *options)
    return report, {path.stem: read_mask(path) for path in sorted((output / "train/mask").iterdir())}


def labelme(folder, shapes, **more):
    """A labelme file with an image."""
    picture(folder / f"{NAME}.png")
    return write_json(folder / f"{NAME}.json", labelme_content(shapes, **more))


def test_there_is_a_scene_of_every_form():
    assert list(MAKERS) == list(FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_every_form(form, tmp_path, capsys):
    source = tmp_path / "source"
    MAKERS[form](source)
    report, masks = convert(capsys, source)
    np.testing.assert_array_equal(masks[NAME], scene())
    assert f"{FORMS[form].title}: 1 image, 2 objects" in report
    rows = [line.split()[:4] for line in report.splitlines() if line.startswith("      ")]
    assert rows == [["1", "cat", "1", "1"], ["2", "dog", "1", "1"]]
    output = tmp_path / "source_out"
    settings = json.loads((output / "train/prepared.json").read_text())["settings"]
    assert settings == {"OUTPUT.CLASS_NAMES": ["background", "cat", "dog"]}
    table = read_table(output / "classes.csv")
    assert [(line.label, line.name) for line in table] == [(0, "background"), (1, "cat"), (2, "dog")]
    expected = {"cvat": (255, 0, 128), "supervisely": (255, 0, 128), "voc": (128, 0, 0)}.get(form, (230, 159, 0))
    assert table[1].colour == expected
    assert "1 pair written" not in run(annotations, capsys, source, output, *TRAIN)  # nothing has changed


@pytest.mark.parametrize(("order", "top"), [("size", 2), ("file", 1)])
def test_order(order, top, tmp_path, capsys):
    make_labelme(tmp_path / "source")  # the dog, then the cat over it
    assert convert(capsys, tmp_path / "source", "--order", order)[1][NAME][10, 12] == top


def test_shapes_of_a_group_are_one_object(tmp_path, capsys):
    parts = [[0, 0, 8, 0, 8, 8, 0, 8], [20, 0, 40, 0, 40, 30, 20, 30]]
    shapes = [labelme_shape("cat", part, group_id=3) for part in parts]
    shapes.append(labelme_shape("dog", [4, 0, 18, 0, 18, 20, 4, 20]))  # larger than the cat's first part alone
    labelme(tmp_path / "source", shapes)
    report, masks = convert(capsys, tmp_path / "source")
    assert masks[NAME][4, 6] == 2 and "1 image, 2 objects" in report


def test_categories_ignored_pixels_and_names_of_the_background(tmp_path, capsys):
    hole = [20, 16, 30, 16, 30, 20, 20, 20]
    named = [("cat", CAT), ("dog", DOG), ("_background_", [5, 4, 9, 4, 9, 7, 5, 7]), ("__ignore__", hole)]
    labelme(tmp_path / "source", [labelme_shape(name, points) for name, points in named])
    report, masks = convert(capsys, tmp_path / "source", "--categories", "dog", "cat")
    assert [masks[NAME][at] for at in ((10, 12), (6, 12), (5, 6), (18, 25))] == [1, 2, 0, 255]
    assert "DATASET.IGNORE_LABEL=255" in report
    message = refuse(
        annotations, capsys, tmp_path / "new", tmp_path / "source", tmp_path / "new", "--categories", "cow"
    )
    assert "has no category cow" in message


def test_overlapping_classes(tmp_path, capsys):
    make_labelme(tmp_path / "source")
    _, masks = convert(capsys, tmp_path / "source", "--multi-label")
    assert masks[NAME][10, 12] == 3 and masks[NAME][5, 5] == 1
    shapes = [labelme_shape(name, CAT) for name in "abcdefgh"]
    labelme(tmp_path / "eight", shapes)
    assert convert(capsys, tmp_path / "eight", "--multi-label")[1][NAME].max() == 255
    labelme(tmp_path / "eight", [*shapes, labelme_shape("__ignore__", DOG)])
    arguments = (tmp_path / "eight", tmp_path / "new", "--multi-label")
    assert "255 is the value of 8" in refuse(annotations, capsys, tmp_path / "new", *arguments)


def test_images_are_found_by_the_end_of_their_path_and_nowhere_else(tmp_path, capsys):
    secret = picture(tmp_path / "secret.png")
    source, output = tmp_path / "source", tmp_path / "out"
    for name in ("../secret.png", str(secret), "..\\secret.png"):
        labelme(source, [labelme_shape("cat", CAT)], image=name)
        message = refuse(annotations, capsys, output, source, output, *TRAIN)
        assert "there is no image" in message and "--images" in message
    # really below a folder that the user named
    run(annotations, capsys, source, output, *TRAIN, "--images", tmp_path)
    assert "train/images/secret.png" in files(output)
    picture(source / "a/x.png")
    picture(source / "b/x.png")
    labelme(source, [labelme_shape("cat", CAT)], image="C:\\photos\\b\\x.png")
    run(annotations, capsys, source, tmp_path / "windows", *TRAIN)
    labelme(source, [labelme_shape("cat", CAT)], image="x.png")
    assert "x.png could be" in refuse(annotations, capsys, tmp_path / "new", source, tmp_path / "new", *TRAIN)


def test_images_without(tmp_path, capsys):
    make_labelme(tmp_path / "source")
    picture(tmp_path / "source/lone.png")
    picture(tmp_path / "source/empty.png")
    write_json(tmp_path / "source/empty.json", labelme_content([], "empty.png"))
    write_json(tmp_path / "source/gone.json", labelme_content([labelme_shape("cat", CAT)], "gone.png"))
    report, masks = convert(capsys, tmp_path / "source", "--missing", "skip")
    assert list(masks) == [NAME, "empty"] and not masks["empty"].any()
    assert "1 image without objects" in report and "no annotation names" in report and "lone.png" in report
    assert "there is no image gone.png" in report
    options = ("--missing", "skip", "--unlisted", "empty")
    assert list(convert(capsys, tmp_path / "source", *options)[1]) == [NAME, "empty", "lone"]
    assert list(convert(capsys, tmp_path / "source", "--missing", "skip", "--empty", "skip")[1]) == [NAME]


def test_an_image_inside_the_file(tmp_path, capsys):
    pixels = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    shapes, text = [labelme_shape("cat", CAT)], png_text(pixels)
    write_json(tmp_path / "source/a.json", labelme_content(shapes, "gone.png", imageData=text))
    _, masks = convert(capsys, tmp_path / "source")
    assert (read_image(tmp_path / "source_out/train/images/a.png", 1)[:, :, 0] == pixels).all() and masks["a"].any()
    write_json(tmp_path / "source/a.json", labelme_content(shapes, "gone.png", imageData="%%%"))
    message = refuse(annotations, capsys, tmp_path / "new", tmp_path / "source", tmp_path / "new", *TRAIN)
    assert "a.json: image in imageData: is not base64" in message


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_images(orientation, tmp_path, capsys):
    """Annotated as shown: the written image is upright, and so is the mask."""
    stored = (WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH)
    file = exif_jpeg(tmp_path / "source/a.jpg", orientation, *stored)
    write_json(tmp_path / "source/a.json", labelme_content([labelme_shape("cat", CAT)], "a.jpg"))
    _, masks = convert(capsys, tmp_path / "source")
    np.testing.assert_array_equal(masks["a"], reference([CAT]))
    (image,) = (tmp_path / "source_out/train/images").iterdir()
    np.testing.assert_array_equal(read_image(image, 3), read_image(file, 3, turned=True))
    assert (image.suffix == ".jpg") == (orientation == 1)


def test_turned_images_annotated_as_stored(tmp_path, capsys):
    exif_jpeg(tmp_path / "source/a.jpg", 6, HEIGHT, WIDTH)
    write_json(tmp_path / "source/a.json", labelme_content([labelme_shape("cat", CAT)], "a.jpg"))
    assert (convert(capsys, tmp_path / "source")[1]["a"] == np.rot90(reference([CAT]), -1)).all()
    exif_jpeg(tmp_path / "source/a.jpg", 3, HEIGHT, WIDTH)  # the size does not tell
    assert (convert(capsys, tmp_path / "source")[1]["a"] == reference([CAT])).all()
    assert (convert(capsys, tmp_path / "source", "--stored")[1]["a"] == np.rot90(reference([CAT]), 2)).all()


def test_published_splits(tmp_path, capsys):
    source, output = tmp_path / "source", tmp_path / "out"
    for folder in ("train", "valid"):
        picture(source / folder / "images/a.png")
        (source / folder / "labels").mkdir()
        (source / folder / "labels/a.txt").write_text(yolo_line(0, CAT))
    assert "val: 1 pair" in run(annotations, capsys, source, output)
    make_voc(tmp_path / "voc")
    image = tmp_path / f"voc/JPEGImages/{NAME}.png"
    image.rename(tmp_path / "away.png")  # its mask of the same name is no image
    assert "there is no image" in refuse(annotations, capsys, tmp_path / "new", tmp_path / "voc", tmp_path / "new")
    (tmp_path / "away.png").rename(image)
    lists = tmp_path / "voc/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text(f"{NAME}\n", encoding="utf-8")
    assert "val: 1 pair" in run(annotations, capsys, tmp_path / "voc", tmp_path / "voc_out")
    for split in ("train", "test"):
        make_labelme(tmp_path / "by_name" / split)
    assert "test: 1 pair" in run(annotations, capsys, tmp_path / "by_name/{split}", tmp_path / "by_name_out")


def test_equal_names_in_several_folders(tmp_path, capsys):
    for folder in ("one", "two"):
        make_labelme(tmp_path / "source" / folder)
    assert list(convert(capsys, tmp_path / "source")[1]) == [f"one_{NAME}", f"two_{NAME}"]


BILLION = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><annotations>&b;</annotations>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations><meta>&a;</meta></annotations>'


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.xml", BILLION, "declares a document type"),
        ("a.xml", OUTSIDE, "declares a document type"),
        ("a.xml", "<annotations><image>", "is not a complete XML file"),
        ("a.xml", "<annotations>" + "<b>" * 60, "nested deeper than 50"),
        ("a.xml", "<annotations><track/></annotations>", "CVAT for video"),
        ("a.xml", cvat_text("", 'name=""'), "an image has no name"),
        ("a.xml", cvat_text('<polygon label="cat" points="1,2;3"/>'), "not x,y;x,y"),
        ("a.xml", cvat_text('<polygon label="cat" points="1,2;3,x;4,5"/>'), "'x' stands where a number belongs"),
        ("a.xml", cvat_text('<mask label="cat" rle="1,-2" left="0" top="0" width="1" height="1"/>'), "negative run"),
        ("a.xml", cvat_text(cvat_polygon("cat", CAT), size=(9, 9)), "but 9x9 according to"),
        ("a.json", '{"shapes": [', "is not a complete JSON file"),
        ("a.json", '{"what": 1}', "no known form: labelme JSON"),
        ("a.json", '{"shapes": 1, "imagePath": "a.png"}', "shapes is 1, not a list"),
        ("a.json", '{"shapes": [{"label": 3}], "imagePath": "a.png"}', "label is 3, not a text"),
        ("labels/a.txt", "0 0.1 0.2 0.3", "three points or more"),
        ("labels/a.txt", "0 0.1 0.2 30 0.2 0.5 0.5", "shares of the image"),
        ("labels/a.txt", "0 0.5 0.5 0.2 0.2", "Boxes alone give no masks"),
    ],
)
def test_bad_files(name, text, expected, tmp_path, capsys):
    picture(tmp_path / f"source/{NAME}.png")
    (tmp_path / "source" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "source" / name).write_text(text, encoding="utf-8")
    assert expected in refuse(annotations, capsys, tmp_path / "out", tmp_path / "source", tmp_path / "out", *TRAIN)


def test_several_forms(tmp_path, capsys):
    for form in ("labelme", "yolo"):
        MAKERS[form](tmp_path / "source" / form)
    message = refuse(annotations, capsys, tmp_path / "out", tmp_path / "source", tmp_path / "out")
    assert "has the forms labelme, yolo. Choose one: --form labelme" in message
    assert "labelme JSON: 1 image" in convert(capsys, tmp_path / "source/labelme", "--form", "labelme")[0]


def test_an_image_described_twice(tmp_path, capsys):
    make_labelme(tmp_path / "source")
    write_json(tmp_path / "source/b.json", labelme_content([], f"{NAME}.png"))
    assert "both describe" in refuse(annotations, capsys, tmp_path / "out", tmp_path / "source", tmp_path / "out")


def test_what_encloses_nothing_is_named(tmp_path, capsys):
    shapes = [
        labelme_shape("cat", CAT),
        labelme_shape("outside", [50, 2, 60, 2, 60, 9]),
        labelme_shape("short", [1, 1, 2, 2]),
        labelme_shape("stroke", [1, 1, 9, 9], "linestrip"),
        labelme_shape("", CAT),
        labelme_shape("over the edge", [-9, -9, 4, -9, 4, 4, -9, 4]),
    ]
    labelme(tmp_path / "source", shapes)
    report, masks = convert(capsys, tmp_path / "source")
    for text in ("(outside): covers no pixel", "(short): fewer than three", "(stroke): a linestrip", "has no label"):
        assert text in report
    assert masks[NAME][:4, :4].all() and masks[NAME].max() == 3  # of the names that are used


def test_crowds(tmp_path, capsys):
    picture(tmp_path / f"source/{NAME}.png")
    runs = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    found = [{"category_id": 2, "segmentation": [CAT]}, {"category_id": 1, "segmentation": runs, "iscrowd": 1}]
    write_json(tmp_path / "source/coco.json", coco_content(found))
    values = {}
    for crowd in ("include", "skip", "ignore"):
        mask = convert(capsys, tmp_path / "source", "--crowd", crowd)[1][NAME]
        values[crowd] = mask[0, 0], mask[5, 5]
    assert values == {"include": (1, 2), "skip": (0, 2), "ignore": (255, 2)}
