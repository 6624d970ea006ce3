"""The keys of AUGMENTATION. `utils.config.schema` has the others."""

from utils.base.keys import Group, Key

PROBABILITY = Key(float, low=0, high=1)


def interval(low: float, high: float) -> Key:
    """Two numbers, the smaller one first."""
    return Key(list[float], low, high, length=2, ascending=True)


def knob(**keys: Key) -> Group:
    """A knob of AUGMENTATION; a PROBABILITY of 0 switches it off."""
    return Group(PROBABILITY=PROBABILITY, **keys)


AUGMENTATION = Group(
    ENGINE=Key(choices="data_generators:ENGINES"),
    ALBUMENTATIONS=Key(str | None),
    FILL=Key(choices=("reflect", "zero")),
    HORIZONTAL_FLIP=knob(),
    VERTICAL_FLIP=knob(),
    ROTATE_90=knob(),
    ROTATION=knob(DEGREES=interval(-180, 180)),
    ZOOM=knob(FACTOR=interval(0.1, 10), PAN=PROBABILITY, KEEP_FOREGROUND=Key(bool | None)),
    SHEAR=knob(DEGREES=interval(-80, 80)),
    TRANSLATION=knob(SHARE=interval(-1, 1)),
    ELASTIC=knob(DISPLACEMENT=Key(float, low=0, high=1000), SMOOTHNESS=Key(float, low=1, high=1000)),
    BRIGHTNESS=knob(SHIFT=interval(-1, 1)),
    CONTRAST=knob(FACTOR=interval(0, 10)),
    GAMMA=knob(EXPONENT=interval(0.01, 100)),
    NOISE=knob(STD=interval(0, 1)),
    BLUR=knob(SIGMA=interval(0.1, 100)),
    COARSE_DROPOUT=knob(HOLES=Key(list[int], 1, 1000, length=2, ascending=True), SIZE=interval(0.001, 1)),
)
