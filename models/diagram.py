"""One page with the U of a model: encoder down on the left, decoder up on the right, skips across."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models.stages import DECODER, ENCODER, IMAGE, OUTPUT, Stage
from utils.base.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 1.62, 0.56  # of a box; columns are 1 apart, and neighbours in a row 2
# Okabe and Ito's colours, which colour-blind people tell apart.
FILLS = {IMAGE: "#777777", ENCODER: "#0072B2", DECODER: "#009E73", OUTPUT: "#B8500A"}
DOWN, UP, SKIP, FINER, COARSER = "down", "up", "skip", "from a finer map", "from a coarser map"
HEAD, GATE = "head", "gate"
ARROWS = {
    DOWN: "#0072B2",
    UP: "#009E73",
    SKIP: "#555555",
    FINER: "#56B4E9",
    COARSER: "#CC79A7",
    HEAD: "#B8500A",
    GATE: "#B8500A",
}


class Place(NamedTuple):
    """The centre of a box: x to the right, y down, in units of a column and a level."""

    x: float
    y: float


def draw_diagram(stages: Mapping[str, Stage], title: str, path: Path) -> None:
    """Write the page as a PNG, at most 1,600 pixels wide.

    Args:
        stages: of `models.stages.stages_of`.
        title: a line above.
        path: to write to.
    """
    from matplotlib.figure import Figure

    places = place(stages)
    left, right = (side(place.x for place in places.values()) for side in (min, max))
    right += 0.8 * any(stages[source].kind == OUTPUT for stage in stages.values() for source in stage.sources)
    top, bottom = (side(place.y for place in places.values()) for side in (min, max))
    figure = Figure(figsize=(right - left + 2, 1.3 * (bottom - top + 1) + 1))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left - 1, right + 1), ylim=(bottom + 0.9, top - 0.95))
    axes.axis("off")
    kinds = draw_arrows(axes, stages, places)
    for name, stage in stages.items():
        draw_box(axes, stage, places[name])
    axes.text(left - 0.8, top - 0.75, title, fontsize=14, weight="bold", va="center")
    for position, kind in enumerate(kind for kind in ARROWS if kind in kinds):
        x, y = left - 0.8 + (right - left + 1.6) * position / len(kinds), bottom + 0.7
        add_arrow(axes, [(x, y), (x + 0.45, y)], kind)
        axes.text(x + 0.52, y, kind, fontsize=9.5, va="center")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=min(1600 / figure.get_figwidth(), 130))


def place(stages: Mapping[str, Stage]) -> dict[str, Place]:
    """Where each box stands.

    Level i and column j of the nested U of UNet++ stand at x = i + 2 j. Encoders are column 0; a decoder without
    columns is the outermost node of its level, which makes the U.

    >>> from models.stages import Stage
    >>> names = ("image", "encoder1", "encoder2", "decoder1", "mask")
    >>> kinds = (IMAGE, ENCODER, ENCODER, DECODER, OUTPUT)
    >>> stages = {name: Stage(name, kind, stride) for name, kind, stride in zip(names, kinds, (1, 1, 2, 1, 1))}
    >>> stages["mask"].sources = ["decoder1"]
    >>> [tuple(place) for place in place(stages).values()]
    [(-2, 0), (0, 0), (1, 1), (2, 0), (4, 0)]
    """
    levels = {name: stage.stride.bit_length() - 1 for name, stage in stages.items()}
    deepest = max(levels.values())
    places: dict[str, Place] = {}
    for name, stage in stages.items():
        level = levels[name]
        if stage.kind == ENCODER:
            places[name] = Place(level, level)
        elif stage.kind == DECODER:
            column = deepest - level if stage.column is None else stage.column
            places[name] = Place(level + 2 * column, level)
    places = {IMAGE: Place(0 if Place(0, 0) not in places.values() else -2, 0), **places}
    rightmost = {y: max(place.x for place in places.values() if place.y == y) for _, y in places.values()}
    end = 2 * deepest if any(stage.kind == DECODER for stage in stages.values()) else deepest
    # Masks first: what has no rows and columns goes below them.
    for name, stage in sorted(stages.items(), key=lambda item: -len(item[1].shape)):
        if stage.kind == OUTPUT:
            at = place_output(places[stage.sources[0]], rightmost, end, stage)
            places[name] = at if at not in places.values() else Place(at.x, at.y + 1)
    return {name: places[name] for name in stages}


def place_output(source: Place, rightmost: Mapping[float, float], end: float, stage: Stage) -> Place:
    """An output: right of the U, or above a node that has others to its right."""
    if source.x < rightmost[source.y]:
        return Place(source.x, source.y - 1.25)  # arcs to the right of the row pass between
    if stage.name == "mask" and source.y > 0:  # the head brings the last map to the size of the image
        return Place(end, 0)
    return Place(max(end, source.x) + 2, source.y)


def draw_box(axes: Axes, stage: Stage, at: Place) -> None:
    """Name, size and parameters of a stage."""
    from matplotlib.patches import FancyBboxPatch

    corner = (at.x - WIDTH / 2, at.y - HEIGHT / 2)
    style = "round,pad=0,rounding_size=0.08"
    fill = FILLS[stage.kind]
    axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=style, facecolor="white", edgecolor=fill, lw=1.8))
    lines = [(stage.name.replace("_column", ", column "), 9.5, fill, "bold")]
    lines += [(" \N{MULTIPLICATION SIGN} ".join(map(str, stage.shape)), 10.5, "black", "normal")]
    if stage.parameters:
        lines += [(f"{short(stage.parameters)} parameters", 9, "#444444", "normal")]
    for index, (text, size, color, weight) in enumerate(lines):
        y = at.y + (index - (len(lines) - 1) / 2) * 0.17
        axes.text(at.x, y, text, fontsize=size, color=color, weight=weight, ha="center", va="center")


def short(number: int) -> str:
    """A number in three digits.

    >>> short(1154), short(14163968), short(96)
    ('1.2 k', '14.2 M', '96')
    """
    for unit, scale in (("M", 10**6), ("k", 10**3)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return str(number)


def draw_arrows(axes: Axes, stages: Mapping[str, Stage], places: Mapping[str, Place]) -> set[str]:
    """Draw what each stage takes; returns the kinds of arrows there are."""
    pairs = [(source, name) for name, stage in stages.items() for source in stage.sources]
    kinds = {pair: kind_of(stages[pair[0]], stages[pair[1]], places[pair[0]], places[pair[1]]) for pair in pairs}
    for pair, kind in kinds.items():
        add_arrow(axes, route(pair, kind, pairs, places), kind)
    return set(kinds.values())


def add_arrow(axes: Axes, points: list[Point], kind: str) -> None:
    """Draw an arrow along two points of a line, or four of a cubic curve."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    codes = [Curve.MOVETO, *[Curve.CURVE4] * 3] if len(points) == 4 else [Curve.MOVETO, Curve.LINETO]
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(points, codes),
            arrowstyle="-|>,head_length=5,head_width=2.5",
            color=ARROWS[kind],
            linewidth=1.5,
            linestyle="--" if kind == GATE else "-",
            shrinkA=0,
            shrinkB=0,
            zorder=0.5,
        )
    )


def kind_of(source: Stage, stage: Stage, start: Place, end: Place) -> str:
    """What an arrow means."""
    if stage.kind == OUTPUT:
        return GATE if source.kind == OUTPUT else HEAD
    if stage.kind == ENCODER:
        return DOWN
    if start.y <= end.y:
        return FINER if start.y < end.y else SKIP
    return UP if start.y - end.y == 1 else COARSER


Point = tuple[float, float]


def route(pair: tuple[str, str], kind: str, pairs: list[tuple[str, str]], places: Mapping[str, Place]) -> list[Point]:
    """The way of an arrow around the boxes: two points of a line, or four of a cubic curve."""
    (x0, y0), (x1, y1) = places[pair[0]], places[pair[1]]
    right, left, half = x0 + WIDTH / 2, x1 - WIDTH / 2, HEIGHT / 2
    if kind == GATE:
        far = right + 0.2 + 0.2 * abs(y0 - y1)
        return [(right, y0), (far, y0), (far, y1), (x1 + WIDTH / 2, y1)]
    if x0 == x1:
        return [(x0, y0 - half), (x1, y1 + half)]
    if y0 == y1:
        between = sum(place.y == y0 and x0 < place.x < x1 for place in places.values())
        return [(right, y0), (left, y1)] if not between else arc(x0 + 0.45, x1 - 0.15 - 0.14 * between, y0, between)
    if kind == DOWN:
        return quarter((x0 - 0.25, y0 + half), (left, y1), vertical_first=True)
    # Sources of the same side in the order of their distance: the farthest has the outermost curve.
    same_side = sorted(
        (places[s].y for s, t in pairs if t == pair[1] and (places[s].y < y1) == (y0 < y1)), reverse=y0 < y1
    )
    number = [y for y in same_side if y != y1].index(y0)
    if y0 > y1:
        return quarter((right, y0), (x1 + 0.1 + 0.17 * number, y1 + half), vertical_first=False)
    leaving = sorted(places[t].y for s, t in pairs if s == pair[0] and places[t].y > y0)
    start = y0 + 0.42 * HEIGHT * (leaving.index(y1) + 1) / len(leaving)
    return quarter((right, start), (x1 - 0.45 + 0.17 * number, y1 - half), vertical_first=False)


def arc(start: float, end: float, row: float, boxes: int) -> list[Point]:
    """A flat arc above some boxes of a row."""
    top = row - HEIGHT / 2
    rise = top - 0.21 - 0.13 * boxes
    return [(start, top), (start + 0.4, rise), (end - 0.4, rise), (end, top)]


def quarter(start: Point, end: Point, vertical_first: bool) -> list[Point]:
    """A quarter of an ellipse."""
    (x0, y0), (x1, y1) = start, end
    share = 0.55
    if vertical_first:
        return [start, (x0, y0 + share * (y1 - y0)), (x1 - share * (x1 - x0), y1), end]
    return [start, (x0 + share * (x1 - x0), y0), (x1, y1 + share * (y0 - y1)), end]
