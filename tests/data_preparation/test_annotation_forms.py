"""Each annotation form against the rendering of its own tool, up to a stated border, and its oddities."""

import math
from argparse import Namespace

import cv2
import numpy as np
import pytest
from annotation_form_helpers import (
    CAT,
    DOG,
    HEIGHT,
    LEFT,
    NAME,
    PIXEL,
    WIDTH,
    brush_codes,
    coco_content,
    collection,
    cvat_text,
    geo_feature,
    labelme_content,
    labelme_shape,
    pairs_of,
    per_cent,
    picture,
    png_text,
    reference,
    save_palette,
    studio_result,
    studio_task,
    supervisely_bitmap,
    supervisely_content,
    supervisely_polygon,
    to_world,
    via_content,
    via_polygon,
    write_json,
    write_raster,
    yolo_line,
)
from PIL import Image, ImageDraw
from public_format_helpers import make_coco, run

from data_generators.reading.masks import read_mask
from data_preparation import annotations, coco
from data_preparation.annotation_forms.forms import FORMS
from data_preparation.annotation_forms.source import open_source
from data_preparation.annotation_forms.values import NO_AREA
from utils.base.errors import UserError

NEAR = 0.3  # pixels: pycocotools rounds coordinates to a fifth of a pixel


def read(form, folder, **options):
    return FORMS[form].read(open_source(folder), Namespace(**{"class_attribute": None, "images": None} | options))


def draw(shape, height=HEIGHT, width=WIDTH):
    """The pixels of a shape in an image."""
    mask = np.zeros((height, width), np.uint8)
    for part in shape.parts:
        top, left, pixels = part.draw(height, width, shape.where)
        mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] |= pixels
    return mask


def drawn(form, folder, **options):
    """`[(class, pixels)]` of the only image of a folder."""
    (image,) = read(form, folder, **options).images
    return [(shape.class_name, draw(shape)) for shape in image.shapes]


def depth(polygon):
    """How far inside a polygon the centre of each pixel is, negative outside: float `(height, width)`."""
    contour = np.reshape(polygon, (-1, 1, 2)).astype(np.float32)
    centres = [(column + 0.5, row + 0.5) for row in range(HEIGHT) for column in range(WIDTH)]
    return np.reshape([cv2.pointPolygonTest(contour, at, True) for at in centres], (HEIGHT, WIDTH))


def assert_centres(mask, polygon):
    """A pixel is in the mask if its centre is in the polygon, but for those nearer than NEAR to its border."""
    inside = depth(polygon)
    np.testing.assert_array_equal((mask > 0)[abs(inside) > NEAR], (inside > 0)[abs(inside) > NEAR])


def assert_equal_but_for_the_border(mask, other, polygon, border):
    differing = np.flatnonzero(mask != other)
    assert len(differing) > 0 and abs(depth(polygon).ravel()[differing]).max() <= border


# labelme: Pillow, border included.


def shape_to_mask(kind, points):
    """As `labelme.utils.shape_to_mask` draws: polygon, rectangle and circle with outline=1, fill=1."""
    found = Image.new("L", (WIDTH, HEIGHT), 0)
    draw_on = ImageDraw.Draw(found)
    corners = [tuple(point) for point in pairs_of(points)]
    if kind == "circle":
        (x, y), at = corners
        radius = math.dist((x, y), at)
        draw_on.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
    elif kind == "rectangle":
        draw_on.rectangle([*np.min(corners, axis=0), *np.max(corners, axis=0)], outline=1, fill=1)
    else:
        draw_on.polygon(corners, outline=1, fill=1)
    return np.asarray(found)


def test_labelme_as_the_tool_draws_but_for_its_border(tmp_path):
    mask = np.array([[1, 0, 1], [1, 1, 0]], np.uint8)
    enclosing = [
        ("polygon", CAT),
        ("polygon", DOG),
        ("rectangle", [30, 4, 12, 20]),
        ("circle", [20.0, 15.0, 26.0, 20.0]),
    ]
    shapes = [labelme_shape(kind, points, kind) for kind, points in enclosing]
    shapes += [
        labelme_shape("mask", [38, 5, 40, 6], "mask", mask=png_text(mask * 255)),
        labelme_shape("line", [2, 2, 9, 9], "line"),
        labelme_shape("point", [5, 5], "point"),
    ]
    write_json(tmp_path / "a.json", labelme_content(shapes))
    found = read("labelme", tmp_path)
    assert [reason for _, reason in found.skipped] == [NO_AREA.format("line"), NO_AREA.format("point")]
    *drawn_shapes, pixels = map(draw, found.images[0].shapes)
    for (kind, points), ours in zip(enclosing, drawn_shapes, strict=True):
        tool = shape_to_mask(kind, points)
        inner = cv2.erode(tool, np.ones((3, 3), np.uint8), borderValue=1)
        assert (ours >= inner).all(), f"{kind}: within its border, the tool's pixels"
        assert (tool >= ours).mean() > 0.99 and tool.sum() > ours.sum(), f"{kind}: but for ties the tool draws more"
    assert_centres(drawn_shapes[0], CAT)
    box, disk = drawn_shapes[2:]
    assert np.array_equal(np.argwhere(box)[[0, -1]], [[4, 12], [19, 29]])  # the tool's has row 20 and column 30, too
    assert shape_to_mask(*enclosing[2]).sum() == box.sum() + 17 + 19 - 1
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(columns - 20, rows - 15) - np.hypot(6, 5)
    np.testing.assert_array_equal(disk[abs(distance) > NEAR], (distance < 0)[abs(distance) > NEAR])
    assert np.array_equal(pixels[5:7, 38:40], mask[:, :2]) and pixels.sum() == 3  # cut at the edge of the image


def test_labelme_of_early_versions_and_damaged(tmp_path):
    shape = {"label": "cat", "points": pairs_of(CAT)}  # no shape_type, no group
    path = write_json(tmp_path / "a.json", {"shapes": [shape], "imagePath": "a.png", "imageData": None})
    assert_centres(drawn("labelme", tmp_path)[0][1], CAT)
    for change, expected in (
        ({"shape_type": "spline"}, "'spline' is none that labelme writes"),
        ({"points": [[1, 2], [3]]}, r"not a list of \[x, y\]"),
        ({"points": [[1, float("nan")], [3, 4], [5, 6]]}, "nan stands where a number belongs"),
        ({"points": [[1, True], [3, 4], [5, 6]]}, "True stands where"),
    ):
        write_json(path, labelme_content([shape | change]))
        with pytest.raises(UserError, match=expected):
            read("labelme", tmp_path)
    far = write_json(path, labelme_content([labelme_shape("cat", [0, 0, 1e9, 0, 5, 5])]))
    with pytest.raises(UserError, match="far outside the image"):
        drawn("labelme", tmp_path)
    large = np.zeros((31, 41), np.uint8)
    write_json(far, labelme_content([labelme_shape("cat", [0, 0, 9, 9], "mask", mask=png_text(large))]))
    with pytest.raises(UserError, match="its picture is 31x41 pixels, the image 30x40"):
        drawn("labelme", tmp_path)


# COCO: pycocotools.


def test_coco(tmp_path, capsys):
    """As `coco.py` draws it."""
    make_coco(tmp_path / "source")
    options = ("--val", 0, "--categories", "person", "cat")
    run(annotations, capsys, tmp_path / "source", tmp_path / "one", *options)
    run(coco, capsys, tmp_path / "source/train.json", tmp_path / "source/train", tmp_path / "two", *options)
    for path in (tmp_path / "two/train/mask").iterdir():
        np.testing.assert_array_equal(read_mask(path), read_mask(tmp_path / "one/train/mask" / path.name))
    write_json(tmp_path / "bad/a.json", coco_content([{"category_id": 9, "segmentation": [DOG]}]))
    with pytest.raises(UserError, match="one of them is not listed"):
        read("coco", tmp_path / "bad")


# CVAT: pycocotools, when it exports COCO.


def test_cvat(tmp_path):
    body = (
        f'<polygon label="cat" points="{";".join(f"{x},{y}" for x, y in pairs_of(CAT))}" z_order="3"/>'
        '<box label="cat" xtl="10" ytl="8" xbr="20" ybr="14" rotation="90"/>'
        '<ellipse label="cat" cx="20" cy="15" rx="12" ry="5" rotation="30"/>'
        '<mask label="cat" rle="1,2,3,1,2" left="38" top="4" width="3" height="3"/>'
        '<polyline label="cat" points="1,1;2,2"/><points label="cat" points="1,1"/><tag label="cat"/>'
    )
    (tmp_path / "annotations.xml").write_text(cvat_text(body, 'name="sub/a.png" subset="Validation"'))
    found = read("cvat", tmp_path)
    (image,) = found.images
    assert (image.split, image.size, image.names[0]) == ("val", (HEIGHT, WIDTH), "sub/a.png")
    assert len(found.skipped) == 2 and "polyline" in found.skipped[0][1] and image.shapes[0].order == 3
    polygon, box, ellipse, mask = map(draw, image.shapes)
    np.testing.assert_array_equal(polygon, reference([CAT]))
    assert np.array_equal(np.argwhere(box)[[0, -1]], [[6, 12], [15, 17]]) and box.sum() == 60
    assert_centres(ellipse, cv2.ellipse2Poly((20000, 15000), (12000, 5000), 30, 0, 360, 1).ravel() / 1000)
    assert np.argwhere(mask).tolist() == [[4, 39], [6, 38]]  # the rest lies beyond the edge


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<mask label="cat" rle="1,2" left="0" top="0" width="3" height="3"/>', "the runs have 3 pixels"),
        (f'<mask label="cat" rle="{10**9}" left="0" top="0" width="{10**6}" height="1000"/>', "their rectangle 1000x"),
        ('<mask label="cat" rle="1e99" left="0" top="0" width="3" height="3"/>', "whole number"),
        ('<box label="cat" xtl="1" ytl="2" xbr="3"/>', "None stands where a number belongs"),
        ('<scribble label="cat"/>', "'scribble' is no shape that CVAT writes"),
    ],
)
def test_bad_cvat(body, expected, tmp_path):
    (tmp_path / "annotations.xml").write_text(cvat_text(body))
    with pytest.raises(UserError, match=expected):
        drawn("cvat", tmp_path)


# VIA draws nothing itself.


def test_via(tmp_path):
    regions = [
        via_polygon("cat", CAT),
        {
            "shape_attributes": {"name": "rect", "x": 4, "y": 5, "width": 6, "height": 7},
            "region_attributes": {"animal": {"dog": True, "cat": False}},  # boxes that are ticked
        },
        {
            "shape_attributes": {"name": "ellipse", "cx": 20, "cy": 15, "rx": 12, "ry": 5, "theta": np.pi / 6},
            "region_attributes": {"animal": "dog"},
        },
        {"shape_attributes": {"name": "circle", "cx": 20, "cy": 15, "r": 5}, "region_attributes": {}},
        {"shape_attributes": {"name": "point", "cx": 20, "cy": 15}, "region_attributes": {"animal": "dog"}},
    ]
    content = via_content(regions)
    write_json(tmp_path / "via.json", content)
    found = read("via", tmp_path)
    assert [why for _, why in found.skipped] == ["has no animal, or several", "a point encloses nothing"]
    (_, cat), (_, rect), (name, ellipse) = drawn("via", tmp_path)
    np.testing.assert_array_equal(cat, reference([CAT]))
    assert rect.sum() == 42 and rect[5:12, 4:10].all() and name == "dog"
    assert_centres(ellipse, cv2.ellipse2Poly((20000, 15000), (12000, 5000), 30, 0, 360, 1).ravel() / 1000)

    image = content["_via_img_metadata"][f"{NAME}.png123"]
    for region in regions:
        region["region_attributes"]["colour"] = "black"
    image["regions"] = dict(enumerate(regions[:1]))  # version 1
    write_json(tmp_path / "via.json", {"a": image})
    with pytest.raises(UserError, match="Name the one that holds the class") as error:
        read("via", tmp_path)
    assert "--class-attribute" in str(error.value)
    assert drawn("via", tmp_path, class_attribute="animal")[0][0] == "cat"
    with pytest.raises(UserError, match="no object has the attribute wings"):
        read("via", tmp_path, class_attribute="wings")


# Supervisely: OpenCV, border included, in whole pixels.


def test_supervisely(tmp_path):
    outer, hole = [5, 4, 30, 4, 34, 24, 9, 26], [12, 8, 20, 8, 20, 14, 12, 14]
    grey = np.array([[0, 255], [255, 255]], np.uint8)
    objects = [
        supervisely_polygon("cat", outer, [hole]),
        {"classTitle": "cat", "geometryType": "rectangle", "points": {"exterior": [[9, 8], [3, 2]], "interior": []}},
        supervisely_bitmap("cat", grey, (-1, 4)),
        {"classTitle": "cat", "geometryType": "multipolygon", "parts": [{"exterior": pairs_of(CAT), "interior": []}]},
        {"classTitle": "cat", "geometryType": "line", "points": {"exterior": [[1, 2], [3, 4]], "interior": []}},
    ]
    write_json(tmp_path / "ds/ann/a.png.json", supervisely_content(objects))
    (_, polygon), (_, box), (_, bitmap), (_, parts) = drawn("supervisely", tmp_path)
    tool = cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [np.int32(pairs_of(outer))], 1)
    tool[cv2.fillPoly(tool * 0, [np.int32(pairs_of(hole))], 1) > 0] = 0
    distance = np.minimum(abs(depth(np.add(outer, 0.5))), abs(depth(np.add(hole, 0.5))))
    assert distance[polygon != tool].max() <= 0.75 and (polygon != tool).mean() < 0.07 and not polygon[10, 15]
    assert box[2:9, 3:10].all() and box.sum() == 49
    assert np.argwhere(bitmap).tolist() == [[4, 0], [5, 0]]
    np.testing.assert_array_equal(parts, reference([CAT]))  # with fractions: positions


def test_bad_supervisely(tmp_path):
    bomb = supervisely_bitmap("cat", np.zeros((3000, 3000), np.uint8))
    for entry, expected in (
        (bomb, "larger than its image|its picture is 3000x3000"),
        ({"classTitle": "cat", "bitmap": {"data": "AAAA", "origin": [0, 0]}}, "its picture is damaged"),
        ({"classTitle": "cat", "bitmap": {"data": "!", "origin": [0, 0]}}, "is not base64"),
        ({"classTitle": "cat", "bitmap": {"data": "AAAA", "origin": [0]}}, r"not \[x, y\]"),
        ({"classTitle": "cat", "geometryType": "mesh"}, "'mesh' is not read"),
    ):
        write_json(tmp_path / "ds/ann/a.png.json", supervisely_content([entry]))
        with pytest.raises(UserError, match=expected):
            drawn("supervisely", tmp_path)


# Label Studio: the bytes that `mask2rle` of its converter, version 0.0.59, makes of the pixels below.

CODES = bytes.fromhex("0000008c391bfe2300bfff6c023ff8c027ffb6017ffe3008fff0b800")
PIXELS = ["0000000", "0011110", "0010110", "0011110", "1000000"]


def test_label_studio_brush(tmp_path):
    size = {"original_width": 7, "original_height": 5}
    result = studio_result({"format": "rle", "rle": list(CODES), "brushlabels": ["cat"]}, "brushlabels") | size
    write_json(tmp_path / "a.json", [studio_task([result])])
    (image,) = read("label_studio", tmp_path).images
    assert ["".join(map(str, row)) for row in draw(image.shapes[0], 5, 7)] == PIXELS
    flat = np.arange(4 * 15, dtype=np.uint8)  # values that come once each
    bits = (
        f"{60:032b}"
        + f"{7:05b}"
        + "0010" * 4
        + "".join(f"000{len(part) - 1:03b}" + "".join(f"{value:08b}" for value in part) for part in np.split(flat, 10))
    )
    codes = [int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8)]
    result["value"]["rle"] = codes
    write_json(tmp_path / "a.json", [studio_task([result])])
    (image,) = read("label_studio", tmp_path).images
    assert draw(image.shapes[0], 3, 5).all()
    for bad, expected in (
        (codes[:-9], "truncated"),
        (codes[:3], "truncated"),
        ([*codes[:8], 300], "numbers from 0 to 255"),
        (brush_codes(np.ones((9, 9))), "stand for 324 values"),
    ):
        result["value"]["rle"] = bad
        write_json(tmp_path / "a.json", [studio_task([result])])
        (image,) = read("label_studio", tmp_path).images
        with pytest.raises(UserError, match=expected):
            draw(image.shapes[0], 3, 5)


def test_label_studio_shapes(tmp_path):
    def shape(**value):
        return studio_result({"rectanglelabels": ["cat"], **value}, "rectanglelabels")

    results = [
        shape(x=25, y=20, width=50, height=40, rotation=0),
        shape(x=50, y=20, width=20, height=40, rotation=90),  # about its corner, in pixels
        shape(x=50, y=50, radiusX=30, radiusY=100 / 6, rotation=30),
        shape(points=per_cent([1, 1, 2, 2])),
        shape(x=1, y=1, width=1),  # a keypoint
        {"type": "choices", "value": {"choices": ["good"]}, "from_name": "a", "to_name": "b"},
    ]
    tasks = studio_task(results, "s3://bucket/folder/a%20b.png?token=1")
    old = {"was_cancelled": False, "result": results[:1]}
    tasks["annotations"] = [old, *tasks["annotations"], {"was_cancelled": True, "result": []}]
    path = write_json(tmp_path / "a.json", [tasks])
    found = read("label_studio", tmp_path)
    (image,) = found.images
    assert image.names == ["folder/a b.png"]
    assert [why.split()[0] for _, why in found.skipped] == ["has", "fewer", "a", "a"]
    box, turned, ellipse = map(draw, image.shapes)
    assert box[6:18, 10:30].all() and box.sum() == 240
    assert turned[6:14, 8:20].all() and turned.sum() == 96
    assert_centres(ellipse, cv2.ellipse2Poly((20000, 15000), (12000, 5000), 30, 0, 360, 1).ravel() / 1000)
    old["ground_truth"] = True
    write_json(path, [tasks])
    assert len(read("label_studio", tmp_path).images[0].shapes) == 1
    results[0]["image_rotation"] = 90
    write_json(path, [studio_task(results)])
    with pytest.raises(UserError, match="was turned in Label Studio"):
        read("label_studio", tmp_path)
    write_json(path, [studio_task([], "readme.md")])
    with pytest.raises(UserError, match="names no image"):
        read("label_studio", tmp_path)


def test_label_studio_short_form_and_image_inside(tmp_path, capsys):
    polygon = {"points": per_cent(CAT), "polygonlabels": ["cat"], "original_width": WIDTH, "original_height": HEIGHT}
    image = f"data:image/png;base64,{png_text(np.zeros((HEIGHT, WIDTH), np.uint8))}"
    task = {"image": image, "id": 7, "label": [polygon], "annotator": 1, "annotation_id": 2}
    write_json(tmp_path / "source/a.json", [task, task | {"id": 8}])
    run(annotations, capsys, tmp_path / "source", tmp_path / "out", "--val", 0)
    for number in (0, 1):
        np.testing.assert_array_equal(read_mask(tmp_path / f"out/train/mask/a_{number}.png"), reference([CAT]))
    task["image"] = "/data/local-files/?d=pets/a%20b.png"
    write_json(tmp_path / "source/a.json", [task])
    assert read("label_studio", tmp_path / "source").images[0].names == ["pets/a b.png"]


# QuPath fills polygons, GDAL burns them, by the centres of pixels.


def test_qupath(tmp_path):
    hole = [12, 8, 20, 8, 20, 12, 12, 12]
    both = geo_feature(CAT, objectType="annotation", classification={"name": "both", "colorRGB": -3670016})
    parts = [both["geometry"], geo_feature(DOG)["geometry"], {"type": "Point", "coordinates": [1, 2]}]
    both["geometry"] = {"type": "GeometryCollection", "geometries": parts}
    features = [
        geo_feature(CAT, [hole], objectType="annotation", classification={"name": "cat", "color": [200, 0, 0]}),
        both,
        geo_feature(DOG, objectType="annotation", classification={"name": "Ignore*"}),
        geo_feature(DOG, objectType="detection"),
        {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "properties": None},
    ]
    write_json(tmp_path / "slide.ome.geojson", features)
    found = read("qupath", tmp_path)
    assert found.ignored == {"Ignore*"} and found.colours == {"cat": (200, 0, 0), "both": (200, 0, 0)}
    assert "slide" in found.images[0].names and "LineString" in found.skipped[0][1]
    (_, cat), (_, both), (_, _), (name, _) = drawn("qupath", tmp_path)
    np.testing.assert_array_equal(cat, reference([CAT]) & (1 - reference([hole])))
    np.testing.assert_array_equal(both, reference([CAT, DOG]))
    assert name == "unclassified"


def test_geojson(tmp_path):
    """Two tiles side by side; the features of both files are drawn on each that they meet."""
    write_raster(tmp_path / "left.tif")
    write_raster(tmp_path / "right.tif", point=True, left=LEFT + PIXEL * WIDTH)
    hole = [10, 6, 14, 6, 14, 10, 10, 10]
    wide = [30, 2, 50, 2, 50, 22, 30, 22]  # on both
    endless = [-1e6, -1e6, 20, -1e6, 20, 1e6, -1e6, 1e6]
    write_json(
        tmp_path / "one.geojson", collection([geo_feature(to_world(CAT), [to_world(hole)], kind="MultiPolygon")])
    )
    features = [geo_feature(to_world(wide)), geo_feature(to_world(endless)), geo_feature(to_world([900] * 8))]
    write_json(tmp_path / "two.json", collection(features, 32616))
    found = read("geojson", tmp_path)
    left, right = found.images
    assert len(found.skipped) == 1 and "meets no raster" in found.skipped[0][1]
    cat, half, rest = map(draw, left.shapes)
    np.testing.assert_array_equal(cat, reference([CAT]) & (1 - reference([hole])))
    assert half[2:22, 30:].all() and half.sum() == 200
    assert rest[:, :20].all() and rest.sum() == 20 * HEIGHT
    (half,) = map(draw, right.shapes)
    assert half[2:22, :10].all() and half.sum() == 200
    assert {shape.class_name for shape in (*left.shapes, *right.shapes)} == {"object"}
    assert set(left.sources) == {tmp_path / "one.geojson", tmp_path / "two.json"}


def test_bad_geojson(tmp_path):
    path = write_json(tmp_path / "a.geojson", collection([geo_feature(to_world(CAT))]))
    with pytest.raises(UserError, match="needs GeoTIFF files"):
        read("geojson", tmp_path)
    write_raster(tmp_path / "a.tif")
    for content, expected in (
        (collection([geo_feature([16.5, 33.1, 16.6, 33.1, 16.6, 33.2])]), r"EPSG:4326, .*ogr2ogr -t_srs EPSG:32616"),
        (collection([geo_feature(to_world(CAT))], 3857), "EPSG:3857"),
        (
            collection([geo_feature(to_world(CAT))]) | {"crs": {"properties": {"name": "mine"}}},
            "'mine' is none of EPSG",
        ),
        (collection([{"type": "Feature", "properties": {}, "geometry": {"type": "Blob"}}]), "'Blob' is no geometry"),
        (collection([geo_feature(to_world(CAT), label="a", type="b")]), "--class-attribute"),
    ):
        write_json(path, content)
        with pytest.raises(UserError, match=expected):
            read("geojson", tmp_path)


# Pascal VOC: every pixel as it is.


def test_voc(tmp_path, capsys):
    source = tmp_path / "source"
    picture(source / "JPEGImages/a.png")
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2:9, 3:20], mask[9:12, 3:20], mask[12:14] = 15, 22, 255
    save_palette(source / "SegmentationClass/a.png", mask)
    report = run(annotations, capsys, source, tmp_path / "out", "--val", 0)
    np.testing.assert_array_equal(read_mask(tmp_path / "out/train/mask/a.png"), mask)
    assert "person" in report and "22  class22" in report and "IGNORE_LABEL=255" in report
    save_palette(source / "SegmentationObject/a.png", mask)
    assert "no annotation names" not in run(annotations, capsys, source, tmp_path / "out", "--val", 0)
    (source / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:9,9,0::\n")
    found = read("voc", source)
    assert found.class_names[:3] == ["background", "cat", "class2"] and found.colours["cat"] == (9, 9, 0)
    cv2.imwrite(str(source / "SegmentationClass/a.png"), np.dstack([mask, mask, mask // 2]))
    with pytest.raises(UserError, match=r"index_masks\.py"):
        read("voc", source)


# YOLO: OpenCV, border included, in coordinates cut to whole pixels.


def test_yolo(tmp_path):
    lines = [yolo_line(0, CAT), "1 0.5 0.5 0.1 0.1", ""]
    (tmp_path / "labels").mkdir()
    path = tmp_path / "labels/a.b.txt"
    path.write_text("\r\n".join(lines))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    found = read("yolo", tmp_path)
    assert found.images[0].names == ["images/a.b"] and "is a box" in found.skipped[0][1]
    ((name, polygon),) = drawn("yolo", tmp_path)
    tool = cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [np.int32(pairs_of(CAT))], 1)
    assert name == "cat" and (tool != polygon).mean() < 0.07
    assert_centres(polygon, CAT)
    assert_equal_but_for_the_border(polygon, tool, CAT, 1.5)
    (tmp_path / "classes.txt").unlink()
    assert drawn("yolo", tmp_path)[0][0] == "class0"
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    assert drawn("yolo", tmp_path)[0][0] == "cat"
    for text, expected in (("2 0 0 1 0 1 1", "'2' is no class"), ("0 0 0 1 0 1", "three points or more")):
        path.write_text(text)
        with pytest.raises(UserError, match=expected):
            read("yolo", tmp_path)
    for text, expected in (("train: a\nnames: 3\n", "names is"), ("train: &a b\nnames: *a\n", "anchors and aliases")):
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises(UserError, match=expected):
            read("yolo", tmp_path)
