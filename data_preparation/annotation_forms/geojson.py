"""GeoJSON over GeoTIFF: every polygon is drawn on every raster that it meets, whatever the files are called.

A pixel belongs to a polygon by its centre, as in GDAL. Both must have one coordinate system: nothing is projected.
"""

import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tifffile import TiffFile

from data_generators.reading.tiff_file import errors_named
from data_generators.reading.tiff_pages import TIFF_SUFFIXES
from data_preparation.annotation_forms.attributes import choose_attribute, class_of
from data_preparation.annotation_forms.geometries import features_of, polygons_of, properties_of
from data_preparation.annotation_forms.qupath import is_form as is_qupath
from data_preparation.annotation_forms.records import AnnotatedImage, Found, Shape
from data_preparation.annotation_forms.shapes import DECIMALS, Polygon
from data_preparation.annotation_forms.source import Source, any_json, json_of_form, not_of_form
from data_preparation.annotation_forms.values import short
from data_preparation.common.image_files import Skipped, list_images
from utils.base.errors import UserError

TITLE = "GeoJSON"
SCALE, TIE_POINT, TRANSFORMATION = 33550, 33922, 34264  # tags of GeoTIFF
WGS84, USER_DEFINED = 4326, 32767
PIXEL_IS_POINT = 2
SYSTEM_KEYS = ("ProjectedCSTypeGeoKey", "GeographicTypeGeoKey")


class Raster(NamedTuple):
    """A GeoTIFF. to_pixels: `(2, 3)`, from x, y, 1 to column and row; system: its EPSG code, None if it is unknown."""

    path: Path
    height: int
    width: int
    to_pixels: np.ndarray
    system: int | None


class Feature(NamedTuple):
    """A feature. polygons: in the coordinates of its file; system: its EPSG code, None if the file does not say."""

    where: str
    path: Path
    class_name: str
    polygons: list[Polygon]
    system: int | None


def is_form(content: Any) -> bool:
    """Whether the content of a JSON file is GeoJSON, and not that of QuPath."""
    is_collection = isinstance(content, dict) and content.get("type") == "FeatureCollection"
    return is_collection and not is_qupath(content)


def recognise(source: Source) -> bool:
    """See `forms`."""
    return any_json(source, is_form)


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    skipped: list[Skipped] = []
    features = read_features(source, options, skipped)
    rasters = []
    for folder in options.images or [source.folder]:
        for path in list_images(folder, recursive=True)[0]:
            if path.suffix.lower() in TIFF_SUFFIXES:
                raster = read_raster(path)
                if raster is None:
                    skipped.append((path, "has no georeference"))
                else:
                    rasters.append(raster)
    if not rasters:
        raise UserError(f"{source.path}: GeoJSON needs GeoTIFF files beside it, or below --images; there are none.")
    images = [place_features(raster, features) for raster in rasters]
    used = {shape.where for image in images for shape in image.shapes}
    skipped += [(feature.where, "meets no raster") for feature in features if feature.where not in used]
    drawn = {path.stem for path in source.ending(".json", ".geojson")}
    kept = [image for image in images if image.shapes or image.file is None or image.file.stem in drawn]
    return Found(kept, skipped=skipped)


def read_features(source: Source, options: Namespace, skipped: list[Skipped]) -> list[Feature]:
    """The features of all files with an area."""
    found = []
    for path, content in json_of_form(source, is_form):
        if content is None:
            skipped.append(not_of_form(path, TITLE))
        else:
            found.append((path, content))
    attribute = choose_attribute(
        [properties_of(feature) for _, content in found for feature in features_of(content)],
        options.class_attribute,
        str(source.path),
    )
    features = []
    for path, content in found:
        for number, feature in enumerate(features_of(content)):
            where = f"{path}: feature {number}"
            name = class_of(properties_of(feature), attribute)
            polygons, reason = polygons_of(feature, where)
            if reason or not name:
                skipped.append((where, reason or f"has no {attribute}"))
            else:
                features.append(Feature(where, path, name, polygons, system_of(content, path)))
    return features


def system_of(content: dict, path: Path) -> int | None:
    """The EPSG code that a collection names; None if it names none."""
    crs = content.get("crs")
    if crs is None:
        return None
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = str(properties.get("name")) if isinstance(properties, dict) else ""
    if name.endswith("CRS84"):
        return WGS84
    code = re.search(r"EPSG:(?:[\d.]*:)?(\d{4,6})$", name, re.IGNORECASE)
    if code is None:
        raise UserError(f"{path}: the coordinate system {short(name)} is none of EPSG. Reproject it with ogr2ogr.")
    return int(code[1])


def read_raster(path: Path) -> Raster | None:
    """The size and the georeference of a TIFF file; None if it has none.

    Raises:
        UserError: it is damaged, or its georeference is of a kind that is not read.
    """
    with errors_named(path), TiffFile(path) as tiff:
        page = tiff.pages.first
        tags = {code: page.tags.valueof(code) for code in (SCALE, TIE_POINT, TRANSFORMATION)}
        keys = page.geotiff_tags or {}
        height, width = page.imagelength, page.imagewidth
        shift = 0.5 if int(keys.get("GTRasterTypeGeoKey", 1)) == PIXEL_IS_POINT else 0.0
        codes = [int(keys[key]) for key in SYSTEM_KEYS if key in keys]
        if tags[TRANSFORMATION]:
            to_world = np.array(tags[TRANSFORMATION], float).reshape(4, 4)[np.ix_([0, 1], [0, 1, 3])]
        elif tags[SCALE] and tags[TIE_POINT]:
            column, row, _, x, y, _ = tags[TIE_POINT][:6]
            across, down = tags[SCALE][:2]
            to_world = np.array([[across, 0, x - column * across], [0, -down, y + row * down]])
        else:
            return None
        to_pixels = np.linalg.inv(np.vstack([to_world, [0, 0, 1]]))[:2]
        to_pixels[:, 2] += shift
    return Raster(path, height, width, to_pixels, next((code for code in codes if code != USER_DEFINED), None))


def place_features(raster: Raster, features: Sequence[Feature]) -> AnnotatedImage:
    """The features that meet a raster, in its pixels."""
    shapes = []
    sources: dict[Path, None] = {}
    for number, feature in enumerate(features):
        check_system(raster, feature)
        placed = [in_pixels(polygon, raster) for polygon in feature.polygons]
        parts = [polygon for polygon in placed if polygon is not None]
        if parts:
            shapes.append(Shape(feature.where, feature.class_name, parts, number))
            sources[feature.path] = None
    size = raster.height, raster.width
    return AnnotatedImage(
        str(raster.path), [raster.path.name], raster.path.parent, shapes, tuple(sources), size, file=raster.path
    )


def check_system(raster: Raster, feature: Feature) -> None:
    """Raise a UserError if a feature has another coordinate system than a raster."""
    system = feature.system
    if system is None and raster.system not in (None, WGS84):
        first = feature.polygons[0].outer
        is_degrees = max(map(abs, first[::2])) <= 180 and max(map(abs, first[1::2])) <= 90
        system = WGS84 if is_degrees else raster.system  # without a name GeoJSON has degrees
    if system is not None and raster.system is not None and system != raster.system:
        raise UserError(
            f"{feature.path}: has the coordinate system EPSG:{system}, {raster.path} EPSG:{raster.system}. "
            f"Reproject it: ogr2ogr -t_srs EPSG:{raster.system} new.geojson {feature.path.name}"
        )


def in_pixels(polygon: Polygon, raster: Raster) -> Polygon | None:
    """A polygon in the pixels of a raster, cut at a margin around it; None if it does not meet it."""
    margin = max(raster.height, raster.width)
    low, high = np.array([-margin, -margin]), np.array([raster.width + margin, raster.height + margin])
    rings: list[list[float]] = []
    for ring in (polygon.outer, *polygon.holes):
        points = np.reshape(ring, (-1, 2)) @ raster.to_pixels[:, :2].T + raster.to_pixels[:, 2]
        meets = (points.max(axis=0) > 0).all() and (points.min(axis=0) < [raster.width, raster.height]).all()
        if not meets and not rings:
            return None
        if meets:
            rings.append(np.round(cut(points, low, high), DECIMALS).ravel().tolist())
    return Polygon(rings[0], rings[1:]) if len(rings[0]) >= 6 else None


def cut(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The part of a polygon `(points, 2)` within a box, by Sutherland and Hodgman's method (1974): side after side."""
    for axis in (0, 1):
        for limit, sign in ((low[axis], 1), (high[axis], -1)):
            distance = sign * (points[:, axis] - limit)
            if len(points) == 0 or (distance >= 0).all():
                continue
            kept = []
            for here, before, one, other in zip(
                points, np.roll(points, 1, axis=0), distance, np.roll(distance, 1), strict=True
            ):
                if (one >= 0) != (other >= 0):
                    kept.append(before + (here - before) * (other / (other - one)))
                if one >= 0:
                    kept.append(here)
            points = np.array(kept).reshape(-1, 2)
    return points
