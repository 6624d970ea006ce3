"""The features of GeoJSON: their polygons with holes, for any use of its coordinates."""

from collections.abc import Iterator
from typing import Any

from data_preparation.annotation_forms.shapes import Polygon
from data_preparation.annotation_forms.values import NO_AREA, entry_of, points_of, short
from utils.base.errors import UserError

NO_SHAPES = ("Point", "MultiPoint", "LineString", "MultiLineString")


def features_of(content: Any) -> list[Any]:
    """The features of a collection, of a list of them or of a single one; [] for anything else."""
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    found = [content] if isinstance(content, dict) and content.get("type") == "Feature" else content
    is_list = isinstance(found, list) and all(isinstance(one, dict) and one.get("type") == "Feature" for one in found)
    return found if is_list and isinstance(found, list) else []


def properties_of(feature: dict) -> dict:
    """The properties of a feature, which may be null."""
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def polygons_of(feature: dict, where: str) -> tuple[list[Polygon], str]:
    """Return `(polygons, why there are none or "")` of a feature."""
    if feature.get("geometry") is None:
        return [], "has no geometry"
    polygons: list[Polygon] = []
    reason = ""
    for geometry in simple_geometries(entry_of(feature, "geometry", dict, where), where):
        kind = geometry["type"]
        if kind in NO_SHAPES:
            reason = NO_AREA.format(kind)
            continue
        if kind not in ("Polygon", "MultiPolygon"):
            raise UserError(f"{where}: {short(kind)} is no geometry of GeoJSON.")
        coordinates = entry_of(geometry, "coordinates", list, where)
        for rings in [coordinates] if kind == "Polygon" else coordinates:
            if not isinstance(rings, list):
                raise UserError(f"{where}: {short(rings)} stands where a polygon belongs.")
            outlines = [points_of(ring, where) for ring in rings]
            if outlines and len(outlines[0]) >= 6:
                polygons.append(Polygon(outlines[0], [hole for hole in outlines[1:] if len(hole) >= 6]))
    return polygons, "" if polygons else reason or "is empty"


def simple_geometries(geometry: dict, where: str) -> Iterator[dict]:
    """A geometry itself, or those of a collection, which may be nested."""
    to_visit = [geometry]
    while to_visit:
        found = to_visit.pop()
        if not isinstance(found, dict) or not isinstance(found.get("type"), str):
            raise UserError(f"{where}: {short(found)} is no geometry.")
        if found["type"] == "GeometryCollection":
            to_visit += reversed(entry_of(found, "geometries", list, where))
        else:
            yield found
