"""The colours of pictures, curves, report and page, told apart by colour-blind people too.

Sources: M. Okabe and K. Ito, "Color Universal Design", 2008 (https://jfly.uni-koeln.de/color/); P. Tol, "Colour
Schemes", technical note SRON/EPS/TN/09-002, 2021 (muted and bright schemes). A class has the same colour everywhere.
"""

import functools

# Class 1, 2, ...: the colours of Okabe and Ito, then those of Tol's muted scheme that are none of them. RGB.
CLASS_COLORS = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (204, 121, 167),  # reddish purple
    (213, 94, 0),  # vermillion
    (0, 114, 178),  # blue
    (221, 204, 119),  # sand
    (51, 34, 136),  # indigo
    (136, 34, 85),  # wine
    (17, 119, 51),  # green
    (136, 204, 238),  # cyan
    (153, 153, 51),  # olive
    (170, 68, 153),  # purple
)
BACKGROUND = (0, 0, 0)
CLASS_0 = (255, 170, 187)  # of class 0 where it is a class, such as sky: pink of Tol's light scheme
VOID = (187, 187, 187)  # Tol's grey: pixels that are not scored
# What a prediction gets wrong. They are drawn over a grey image, apart from classes.
ERROR_COLORS = {"missed": (0, 114, 178), "excess": (213, 94, 0), "other class": (240, 228, 66)}
# Lines of curves, dark enough on white. RGB.
LINE_COLORS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (0, 0, 0))


def class_color(index: int) -> tuple[int, int, int]:
    """RGB colour of a class index, of 0 where it is a class and no background; after the last those of 1 on come again.

    >>> class_color(1), class_color(15) == class_color(1), class_color(0) == CLASS_0
    ((230, 159, 0), True, True)
    """
    if index == 0:
        return CLASS_0
    return CLASS_COLORS[(index - 1) % len(CLASS_COLORS)]


@functools.lru_cache(maxsize=8)  # a millisecond for each picture
def color_table(
    multi_label: bool = False, values: tuple[int, ...] | None = None, has_background: bool = True
) -> list[int]:
    """The palette of a picture whose values are class indices: 256 colours, red, green and blue of one after the other.

    Args:
        multi_label: whether values are the bits of overlapping classes (`utils.base.class_bits`): their mean colour.
        values: of the classes in the picture, or of their combinations, 0 to 255, that of 0 first; None: their indices
            or bits. Others are black.
        has_background: whether class 0 is the background, which is black.

    >>> color_table()[:9], color_table(multi_label=True)[9:12]
    ([0, 0, 0, 230, 159, 0, 86, 180, 233], [158, 169, 116])
    >>> color_table(values=(0, 255))[-6:]
    [0, 0, 0, 230, 159, 0]
    """
    colors = {0: BACKGROUND if has_background else CLASS_0}
    for index in range(1, 256):
        classes = [bit + 1 for bit in range(8) if index >> bit & 1] if multi_label else [index]
        of_classes = zip(*map(class_color, classes), strict=True)
        red, green, blue = (sum(channel) // len(classes) for channel in of_classes)
        colors[index] = red, green, blue
    if values is not None:
        colors = dict.fromkeys(range(256), BACKGROUND) | {value: colors[index] for index, value in enumerate(values)}
    return [channel for color in colors.values() for channel in color]


def hex_color(color: tuple[int, int, int]) -> str:
    """As HTML and Matplotlib write it.

    >>> hex_color((230, 159, 0))
    '#e69f00'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def line_color(number: int) -> str:
    """The colour of a curve, from 0 on; after the last they start again."""
    return hex_color(LINE_COLORS[number % len(LINE_COLORS)])
