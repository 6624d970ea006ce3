"""The review list: which masks to look at first, as a table and as a page with pictures."""

from __future__ import annotations

import csv
import heapq
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader

from utils.base.embedding import data_url
from utils.base.files import atomic_write
from utils.base.palette import hex_color
from utils.base.pictures import draw_contours, overlay
from utils.base.text_files import SHOWN, spreadsheet_cell
from utils.base.wording import counted
from utils.inference.comparison import class_legend, fit
from utils.inference.uncertainty.cases import CaseNumbers
from utils.inference.uncertainty.learnt import flag_text
from utils.inference.uncertainty.members import FULL
from utils.inference.writers import MaskPrediction, Writer, WriterSettings
from utils.inference.writers.pictures import shown_image

PICTURES = 60  # cases that the page shows
ROWS = 1000  # that its table has; review.csv has all
LARGEST_SIDE, LEAST_SIDE = 384, 192  # pixels of a picture
QUALITY = 82  # of WebP
# The share of the most there can be that is drawn brightest: members seldom disagree as much as they could.
BRIGHTEST = {"entropy": 1.0, "mutual_information": 0.25, "variance": 0.1}
COLORS = cv2.COLORMAP_INFERNO  # its lightness ascends: colour-blind people can read it, and so can a grey print
TEMPLATES = (Path(__file__).parent, Path(__file__).parents[2] / "evaluation")  # with the style of the report


class Case(NamedTuple):
    """A row of the list."""

    number: int
    file: str
    numbers: CaseNumbers
    predicted_dice: float | None
    flag: bool | None

    @property
    def key(self) -> tuple[float, int]:
        """The least sure first, of equal ones the one that came first."""
        return self.numbers.expected_dice, self.number


class ReviewWriter(Writer[MaskPrediction]):
    """Writes `review.csv` and `review.html`, the least sure mask first; only the pictures of the page are kept."""

    def __init__(self, folder: Path, settings: WriterSettings) -> None:
        super().__init__(folder, settings)
        self.cases: list[Case] = []
        self.pictures: list[tuple[float, int, dict[str, Any]]] = []  # a heap: the surest of those kept is on top

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None and self.cases:
            self.cases.sort(key=lambda case: case.key)
            self.write_table()
            self.write_page()

    def write(self, prediction: MaskPrediction) -> None:
        assert prediction.sums is not None
        numbers, learnt = prediction.sums.numbers(), self.settings.learnt
        judged = (
            learnt.judge(numbers.expected_dice, prediction.source.is_series) if learnt is not None else (None, None)
        )
        case = Case(len(self.cases), str(prediction.source.path), numbers, *judged)
        self.cases.append(case)
        key = (-case.key[0], -case.key[1])
        if len(self.pictures) < PICTURES:
            heapq.heappush(self.pictures, (*key, self.draw(prediction)))
        elif key > self.pictures[0][:2]:
            heapq.heapreplace(self.pictures, (*key, self.draw(prediction)))

    def draw(self, prediction: MaskPrediction) -> dict[str, Any]:
        """The pictures of a case: of a series those of the slice that is the least sure."""
        sums = [int(unsure.sum(dtype=np.int64)) for unsure in prediction.unsure]
        index = int(np.argmax(sums))
        meaning = self.settings.meaning
        image = fit(shown_image(prediction, index, self.settings.center_channel), LARGEST_SIDE, LEAST_SIDE)
        labels, truth = prediction.labels[index], prediction.truths[index]
        mask = overlay(image, fit(labels, LARGEST_SIDE, LEAST_SIDE), 0.35, meaning.multi_label, meaning.first_class)
        if truth is not None:
            known = fit(meaning.without_void(truth), LARGEST_SIDE, LEAST_SIDE)
            draw_contours(mask, known, meaning.multi_label, dashed=True, first=meaning.first_class)
        layers = {"image": image, "mask": mask, "uncertainty": self.color(prediction.unsure[index])}
        return {
            "slice": index if prediction.source.is_series else None,
            "truth": truth is not None,
            "layers": {name: encode(picture) for name, picture in layers.items()},
        }

    def color(self, unsure: np.ndarray) -> np.ndarray:
        """A map as RGB, `(height, width, 3)` uint8."""
        brightest = BRIGHTEST[str(self.settings.measure)] * FULL
        grey = np.round(np.minimum(unsure / np.float32(brightest), 1) * 255).astype(np.uint8)
        colored = cv2.cvtColor(cv2.applyColorMap(grey, COLORS), cv2.COLOR_BGR2RGB)
        return fit(colored, LARGEST_SIDE, LEAST_SIDE)

    def write_table(self) -> None:
        """Write `review.csv`."""
        path = self.folder / "review.csv"
        with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors=SHOWN) as file:
            rows = csv.writer(file)
            rows.writerow(["rank", "file", "flag", "expected_dice", "predicted_dice", "uncertainty", "volume_cv"])
            for rank, case in enumerate(self.cases, start=1):
                unsure, spread, expected = case.numbers
                values = [
                    "" if value is None else f"{value:.4f}" for value in (expected, case.predicted_dice, unsure, spread)
                ]
                rows.writerow([rank, spreadsheet_cell(case.file), flag_text(case.flag), *values])

    def write_page(self) -> None:
        """Write `review.html`, which opens without a network."""
        environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)  # names come from outside
        environment.filters |= {"number": number_text, "flag": flag_text, "counted": counted}
        pictures = {-number: found for _, number, found in self.pictures}
        context = {
            "cases": self.cases[:ROWS],
            "count": len(self.cases),
            "flagged": sum(bool(case.flag) for case in self.cases),
            "unjudged": self.unjudged(),
            "learnt": self.settings.learnt,
            "names": short_names([case.file for case in self.cases[:ROWS]]),
            "pictures": [(case, pictures[case.number]) for case in self.cases[:PICTURES]],
            "measure": str(self.settings.measure).replace("_", " "),
            "brightest": BRIGHTEST[str(self.settings.measure)],
            "classes": [(name, hex_color(color)) for name, color in class_legend(self.settings.meaning) if color],
            "time": time.strftime("%Y-%m-%d %H:%M"),
        }
        with atomic_write(self.folder / "review.html") as temporary:
            page = environment.get_template("review.html.j2").render(context)
            temporary.write_text(page, encoding="utf-8", errors=SHOWN)

    def findings(self) -> list[str]:
        if not self.cases:
            return []
        line = f"{self.folder / 'review.csv'}: {counted(len(self.cases), 'mask')}, the least sure first"
        if not self.settings.learnt:
            return [line]
        flagged, unjudged = sum(bool(case.flag) for case in self.cases), self.unjudged()
        if unjudged:
            return [
                f"{line}; {flagged} flagged, {unjudged} not judged: evaluate.py had too few such cases to learn from"
            ]
        return [f"{line}; look at {flagged} of them"]

    def unjudged(self) -> int:
        """How many cases are of a kind, images or volumes, of which nothing was learnt."""
        return sum(case.flag is None for case in self.cases)


def number_text(value: float | None) -> str:
    """A number as the page has it, and a dash for one that is not known."""
    return "\u2013" if value is None else f"{value:.3f}"


def short_names(files: list[str]) -> dict[str, str]:
    """The name of each file; those of one name with their folders."""
    names = [Path(file).name for file in files]
    return {file: name if names.count(name) == 1 else file for file, name in zip(files, names, strict=True)}


def encode(picture: np.ndarray) -> str:
    """An RGB picture as the URL of a WebP."""
    _, data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    return data_url(data.tobytes(), "image/webp")
