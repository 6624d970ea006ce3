"""Parameters and cost of every model type on every encoder: the table `sizes.csv`, which this command writes anew.

python -m models.sizes        # builds each of them: minutes
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from models import ENCODERS, MODEL_TYPES, build_model
from utils.base.files import atomic_write
from utils.base.keras_settings import set_keras
from utils.config import load_config

TABLE = Path(__file__).with_name("sizes.csv")
PLAIN = "unet3plus"  # MODEL.BACKBONE.TYPE of the plain encoder


class Size(NamedTuple):
    """A row of the table: parameters, and GFLOPs of one image (None: INPUT has no fixed size)."""

    type: str
    backbone: str
    parameters: int
    gflops: float | None


def read_sizes() -> list[Size]:
    """The rows of `sizes.csv`: all models with the default settings, 320x320x3 and two classes.

    >>> read_sizes()[0]
    Size(type='unet', backbone='unet3plus', parameters=31050498, gflops=150.7)
    """
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return [Size(row["type"], row["backbone"], int(row["parameters"]), float(row["gflops"])) for row in rows]


def combinations() -> list[tuple[str, str]]:
    """Every MODEL.TYPE with every MODEL.BACKBONE.TYPE that it can have."""
    return [
        (name, backbone)
        for name, model_type in MODEL_TYPES.items()
        for backbone in ([PLAIN] if model_type.encoder else ENCODERS)
    ]


def measure_all(overrides: Sequence[str] = ()) -> Iterator[Size]:
    """Build every model, with settings of the command line."""
    import keras

    for name, backbone in combinations():
        yield measure([*overrides, f"MODEL.TYPE={name}", f"MODEL.BACKBONE.TYPE={backbone}"])
        keras.backend.clear_session()


def measure(overrides: Sequence[str]) -> Size:
    """Build one model."""
    from models.cost import count_flops

    cfg = load_config(list(overrides))
    model = build_model(cfg, pretrained=False)
    gflops = None if None in model.input_shape[1:] else round(count_flops(model) / 1e9, 1)
    return Size(cfg.MODEL.TYPE, cfg.MODEL.BACKBONE.TYPE, model.count_params(), gflops)


def main() -> None:
    """Write the table."""
    set_keras()
    with atomic_write(TABLE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Size._fields)
        for size in measure_all():
            writer.writerow(size)
            file.flush()
            print(*size, flush=True)
    print(f"wrote {TABLE}")


if __name__ == "__main__":
    main()
