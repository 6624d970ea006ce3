"""One scene as every annotation tool would write it: a cat with a notch, and a dog that lies on it."""

import base64
import io
import json
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image
from public_format_helpers import RNG, save
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 30, 40
NAME = "Blüte 1"  # of the image
CAT = [3.2, 2.7, 30.5, 4.1, 36.8, 25.3, 20.1, 14.9, 6.4, 27.5]
DOG = [10.0, 8.0, 18.0, 8.0, 18.0, 13.0, 10.0, 13.0]


def reference(polygons, height=HEIGHT, width=WIDTH):
    """The pixels of polygons by pycocotools."""
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))


def scene():
    """The mask of the scene: cat 1, dog 2."""
    return np.where(reference([DOG]) == 1, 2, reference([CAT])).astype(np.uint8)


def pairs_of(numbers):
    return np.reshape(numbers, (-1, 2)).tolist()


def picture(path, height=HEIGHT, width=WIDTH):
    return save(path, RNG.integers(0, 256, (height, width, 3), np.uint8))


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def png_text(pixels, packed=False):
    """A small picture in base64."""
    data = cv2.imencode(".png", pixels)[1].tobytes()
    return base64.b64encode(zlib.compress(data) if packed else data).decode()


def labelme_content(shapes, image=f"{NAME}.png", height=HEIGHT, width=WIDTH, **more):
    return {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image} | (
        {"imageData": None, "imageHeight": height, "imageWidth": width} | more
    )


def labelme_shape(label, numbers, kind="polygon", **more):
    return {"label": label, "points": pairs_of(numbers), "group_id": None, "shape_type": kind, "flags": {}} | more


def make_labelme(folder):
    picture(folder / f"{NAME}.png")
    shapes = [labelme_shape("dog", DOG), labelme_shape("cat", CAT)]
    write_json(folder / f"{NAME}.json", labelme_content(shapes))


def coco_content(annotations, images=None, names=("cat", "dog")):
    image = {"id": 1, "file_name": f"{NAME}.png", "height": HEIGHT, "width": WIDTH}
    keys = {"image_id": 1, "iscrowd": 0}
    return {
        "images": images or [image],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [{"id": number, **keys, **entry} for number, entry in enumerate(annotations)],
    }


def make_coco(folder):
    picture(folder / f"images/{NAME}.png")
    annotations = [{"category_id": 2, "segmentation": [DOG]}, {"category_id": 1, "segmentation": [CAT]}]
    write_json(folder / "annotations/instances.json", coco_content(annotations))


def cvat_text(body, attributes=f'name="{NAME}.png"', size=(HEIGHT, WIDTH)):
    labels = "".join(
        f"<label><name>{name}</name><color>{colour}</color></label>"
        for name, colour in (("cat", "#ff0080"), ("dog", "#0000ff"))
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>"
        f'<image id="0" {attributes} height="{size[0]}" width="{size[1]}">{body}</image></annotations>'
    )


def cvat_polygon(label, numbers, more='z_order="0"'):
    points = ";".join(f"{x},{y}" for x, y in pairs_of(numbers))
    return f'<polygon label="{label}" points="{points}" {more}></polygon>'


def make_cvat(folder):
    picture(folder / f"images/{NAME}.png")
    (folder / "annotations.xml").write_text(cvat_text(cvat_polygon("dog", DOG) + cvat_polygon("cat", CAT)), "utf-8")


def via_content(regions, name=f"{NAME}.png"):
    images = {f"{name}123": {"filename": name, "size": 123, "regions": regions, "file_attributes": {}}}
    return {"_via_settings": {}, "_via_img_metadata": images, "_via_attributes": {}}


def via_polygon(label, numbers):
    shape = {"name": "polygon", "all_points_x": list(numbers[::2]), "all_points_y": list(numbers[1::2])}
    return {"shape_attributes": shape, "region_attributes": {"animal": label}}


def make_via(folder):
    picture(folder / f"{NAME}.png")
    write_json(folder / "via.json", via_content([via_polygon("dog", DOG), via_polygon("cat", CAT)]))


def supervisely_content(objects):
    return {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}, "objects": objects}


def supervisely_bitmap(label, pixels, origin=(0, 0)):
    bitmap = {"data": png_text(pixels, packed=True), "origin": list(origin)}
    return {"classTitle": label, "geometryType": "bitmap", "bitmap": bitmap}


def supervisely_polygon(label, numbers, holes=()):
    points = {"exterior": pairs_of(numbers), "interior": [pairs_of(hole) for hole in holes]}
    return {"classTitle": label, "geometryType": "polygon", "points": points}


def make_supervisely(folder):
    picture(folder / f"ds/img/{NAME}.png")
    dog = np.zeros((5, 8, 4), np.uint8)
    dog[:, :, 3] = 255
    objects = [supervisely_bitmap("dog", dog, (10, 8)), supervisely_polygon("cat", CAT)]
    write_json(folder / f"ds/ann/{NAME}.png.json", supervisely_content(objects))
    classes = [
        {"title": name, "shape": "any", "color": colour} for name, colour in (("cat", "#FF0080"), ("dog", "#00F"))
    ]
    write_json(folder / "meta.json", {"classes": classes, "tags": []})


def brush_codes(mask):
    """A brush as Label Studio packs it, with runs of up to 65536 values: see `BrushRuns`."""
    flat = np.repeat((mask.ravel() > 0) * np.uint8(255), 4)
    bits = f"{len(flat):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    starts = np.flatnonzero(np.diff(flat > 0, prepend=flat[0] == 0))
    for start, end in zip(starts, [*starts[1:], len(flat)], strict=True):
        bits += f"111{end - start - 1:016b}{flat[start]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


def studio_result(value, kind, **more):
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": "a", "type": kind, "value": value, "from_name": "label", "to_name": "image", **size, **more}


def per_cent(numbers):
    return (np.reshape(numbers, (-1, 2)) * [100 / WIDTH, 100 / HEIGHT]).tolist()


def studio_task(results, image=f"/data/upload/1/1a2b3c4d-{NAME}.png"):
    return {"id": 5, "data": {"image": image}, "annotations": [{"was_cancelled": False, "result": results}]}


def make_label_studio(folder):
    picture(folder / f"{NAME}.png")
    results = [
        studio_result({"format": "rle", "rle": brush_codes(reference([DOG])), "brushlabels": ["dog"]}, "brushlabels"),
        studio_result({"points": per_cent(CAT), "polygonlabels": ["cat"], "closed": True}, "polygonlabels"),
    ]
    write_json(folder / "project.json", [studio_task(results)])


def geo_feature(numbers, holes=(), kind="Polygon", **properties):
    rings = [[*pairs_of(ring), pairs_of(ring)[0]] for ring in (numbers, *holes)]
    coordinates = rings if kind == "Polygon" else [rings]
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def collection(features, system=None):
    named = {"crs": {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{system}"}}} if system else {}
    return {"type": "FeatureCollection", **named, "features": features}


def make_qupath(folder):
    picture(folder / f"{NAME}.png")
    features = [
        geo_feature(DOG, objectType="annotation", classification={"name": "dog", "color": [0, 0, 255]}),
        geo_feature(CAT, kind="MultiPolygon", objectType="annotation", classification={"name": "cat"}),
    ]
    write_json(folder / f"{NAME}.geojson", collection(features))


LEFT, TOP, PIXEL = 733601.0, 3725139.0, 0.5  # of the raster, in metres
SYSTEM = 32616


def to_world(numbers):
    points = np.reshape(numbers, (-1, 2))
    return np.stack([LEFT + PIXEL * points[:, 0], TOP - PIXEL * points[:, 1]], axis=1).ravel().tolist()


def write_raster(path, system=SYSTEM, point=False, left=LEFT):
    """A GeoTIFF of the size of the scene."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2 if point else 1, 3072, 0, 1, system)
    shift = PIXEL / 2 if point else 0
    tags = [
        (33550, "d", 3, (PIXEL, PIXEL, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, left + shift, TOP - shift, 0.0), True),
        (34735, "H", len(keys), keys, True),
    ]
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, extratags=tags)
    return path


def make_geojson(folder):
    write_raster(folder / f"{NAME}.tif")
    features = [geo_feature(to_world(DOG), type="dog", area=3), geo_feature(to_world(CAT), type="cat", area=9)]
    write_json(folder / "animals.geojson", collection(features, SYSTEM))


def save_palette(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    found = Image.fromarray(mask)
    found.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, *[7] * 759])
    found.save(path)


def make_voc(folder):
    picture(folder / f"JPEGImages/{NAME}.png")
    save_palette(folder / f"SegmentationClass/{NAME}.png", scene())
    (folder / "class_names.txt").write_text("_background_\ncat\ndog\n")


def yolo_line(number, numbers):
    return " ".join([str(number), *(repr(value) for value in (np.reshape(per_cent(numbers), -1) / 100).tolist())])


def make_yolo(folder):
    picture(folder / f"images/{NAME}.png")
    labels = folder / f"labels/{NAME}.txt"
    labels.parent.mkdir(parents=True)
    labels.write_text("\n".join([yolo_line(1, DOG), yolo_line(0, CAT), ""]))
    (folder / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames:\n  0: cat\n  1: dog\n")


MAKERS = {
    "labelme": make_labelme,
    "coco": make_coco,
    "cvat": make_cvat,
    "via": make_via,
    "supervisely": make_supervisely,
    "label_studio": make_label_studio,
    "qupath": make_qupath,
    "geojson": make_geojson,
    "voc": make_voc,
    "yolo": make_yolo,
}


def exif_jpeg(path, orientation, height, width):
    """A JPEG file whose stored size is `height` x `width`, with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8))
    exif = found.getexif()
    exif[274] = orientation
    buffer = io.BytesIO()
    found.save(buffer, "JPEG", exif=exif)
    path.write_bytes(buffer.getvalue())
    return path
