"""Commands in processes of their own, on made-up pictures: for the benchmarks that time what users type."""

import atexit
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

DIFFERENT = 16  # pictures of a set whose others are hard links to them


def make_pairs(folder: Path, number: int, seed: int, size: int = 64, different: int = DIFFERENT) -> None:
    """Discs on noise, `images/img0000000.png` and `mask/img0000000.png`; all but `different` of them are links."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    for part in ("images", "mask"):
        (folder / part).mkdir(parents=True)
    for index in range(number):
        image, mask = (folder / part / f"img{index:07}.png" for part in ("images", "mask"))
        if index < different:
            row, column = rng.uniform(0.3, 0.7, 2) * size
            disc = (rows - row) ** 2 + (columns - column) ** 2 < size**2 * rng.uniform(0.01, 0.06)
            values = cv2.GaussianBlur(rng.normal(80, 40, (size, size, 3)), (0, 0), 2) + 90 * disc[..., None]
            cv2.imwrite(str(image), values.clip(0, 255).astype(np.uint8))
            cv2.imwrite(str(mask), disc.astype(np.uint8))
        else:
            os.link(folder / "images" / f"img{index % different:07}.png", image)
            os.link(folder / "mask" / f"img{index % different:07}.png", mask)


def paths(split: str, folder: Path) -> tuple[str, str]:
    """The settings that read a split from such a folder."""
    name = f"DATASET.{split.upper()}"
    return f"{name}.IMAGES_PATH={folder}/images", f"{name}.MASK_PATH={folder}/mask"


def run(*arguments: object) -> tuple[float, float, float, list[str]]:
    """`(seconds, seconds of the processor, MB at the peak, lines of the output)` of a Python command.

    It finds in COMMAND_BEGAN when it was started, in seconds of `time.monotonic`.
    """
    began = time.monotonic()
    environment = os.environ | {"COMMAND_BEGAN": str(began), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, *map(str, arguments)]
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        said.seek(0)
        lines = said.read().splitlines()
    if status:
        sys.exit("\n".join([f"{' '.join(map(str, arguments))} failed:", *lines[-20:]]))
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, lines


def ending_with_first_step(function: Callable, ended: Callable[[], None]) -> Callable:
    """The context that train.py trains in, with a trainer whose first step calls `ended` and ends the process."""

    @contextlib.contextmanager
    def training(cfg: Any) -> Iterator[None]:
        from utils.training.trainer import Trainer

        take = Trainer.train_on

        def first(self: Any, batch: Any) -> None:
            for value in take(self, batch).values():
                float(value)  # waits for it
            ended()
            atexit._run_exitfuncs()  # notes what was compiled, as a process that ends by itself does
            os._exit(0)

        Trainer.train_on = first  # type: ignore[method-assign]
        with function(cfg):
            yield

    return training
