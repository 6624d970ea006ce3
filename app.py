"""A page in the browser that segments one file at a time: python app.py

Gradio and Keras are imported when the page is made, so that --help and config errors do without them.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from data_preparation.scans.file_kinds import NIFTI_SUFFIXES
from utils.base.errors import UserError, printable
from utils.base.files import resolve_path
from utils.base.palette import BACKGROUND, class_color, hex_color
from utils.base.progress import brief_task
from utils.base.wording import counted
from utils.config.command import command
from utils.devices.strategy import make_strategy
from utils.inference.available import Expectation, available_weights, expectation
from utils.inference.writers.views import draw_view

if TYPE_CHECKING:
    import gradio

ADDRESS = "127.0.0.1"  # this machine alone
HOSTS = [ADDRESS, "localhost", "[::1]"]  # a page elsewhere whose name leads here is refused
MAX_FILE_SIZE = "4gb"
# Numbers and names in tables are not broken into lines of a few characters. Boxes for files have no icon under their
# label. A long line in the list of weights ends in dots before the arrow; what stands below says the same in full.
CSS = """
#message td, #message th { padding: 4px 8px; overflow-wrap: normal; word-break: normal; white-space: nowrap }
#file .icon-wrap, #truth .icon-wrap { display: none }
#mask .label-clear-button { display: none }
#weights input { text-overflow: ellipsis; padding-right: 28px }
#message table { max-width: 100% }
@media (max-width: 600px) {
  #message td, #message th { padding: 4px 5px; font-size: 13px }
  #message td:nth-child(2) { white-space: normal; overflow-wrap: anywhere; min-width: 60px }
}
"""
OPACITY = 0.35  # of the classes at first
ENDINGS = [*NIFTI_SUFFIXES, ".gz", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"]


def app(cfg: DictConfig) -> None:
    """Serve the page until Ctrl-C; see APP in configs/config.yaml.

    Raises:
        UserError: no weights yet; Gradio is not installed; the port is taken.
    """
    weights = find_weights(cfg)
    print(f"{counted(len(weights), 'model')} in the list.", flush=True)
    make_strategy(cfg)
    with tempfile.TemporaryDirectory(prefix="segmentation-") as results:
        os.environ["GRADIO_TEMP_DIR"] = results  # what was uploaded is removed with the results
        try:
            with brief_task(cfg, "loading Gradio"):
                page = make_page(cfg, weights, results)
                page.launch(
                    server_name=ADDRESS,
                    server_port=cfg.APP.PORT,
                    share=False,
                    quiet=True,
                    prevent_thread_lock=True,
                    **launch_options(),
                )
        except OSError as error:
            raise UserError(f"APP.PORT={cfg.APP.PORT}: {error}") from None
        print(f"Open http://{ADDRESS}:{cfg.APP.PORT} (this machine only). Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        page.close(verbose=False)


def find_weights(cfg: DictConfig) -> list[str]:
    """Names of the weights in CALLBACKS.MODEL_CHECKPOINT.PATH that can be used, the newest first.

    Raises:
        UserError: there are none.
    """
    names, problems = available_weights(cfg)
    reasons = [f"{name}: {problem}" for name, problem in problems.items()]
    if not names:
        folder = resolve_path(cfg, cfg.CALLBACKS.MODEL_CHECKPOINT.PATH)
        if reasons:
            raise UserError(f"No weights in {folder} can be used. {reasons[0]}")
        raise UserError(f"No weights in {folder}: train a model first, or set CALLBACKS.MODEL_CHECKPOINT.PATH.")
    for reason in reasons:
        print(f"Note: not in the list: {printable(reason)}", file=sys.stderr)
    return names


def make_page(cfg: DictConfig, weights: list[str], results: str | Path) -> gradio.Blocks:
    """The page.

    Args:
        cfg: the config of the command.
        weights: names to choose from, the first is preselected.
        results: folder that the results are written to.
    """
    gradio = import_gradio()

    from utils.inference.segmenter import Segmenter

    segment = Segmenter(cfg, results)
    expected = {name: expectation(cfg, name) for name in weights}

    def failed(error):
        """The values that show an error."""
        return [None, gradio.Slider(visible=False), None, gradio.File(visible=False), f"**Error:** {error}"]

    def run(name, path, truth=None, opacity=OPACITY):
        """What the button does: values of result, slider, picture, masks and message."""
        if path is None:
            return [gradio.skip()] * 4 + ["Drop a file first."]
        for file in (path, truth):
            if file is not None and not file.lower().endswith(tuple(ENDINGS)):
                return failed(f"{Path(file).name} is no image or scan; these are read: {', '.join(ENDINGS)}.")
        try:
            result = segment(name, Path(path), None if truth is None else Path(truth))
        except (UserError, OSError) as error:
            return failed(error)
        last = len(result.views) - 1
        slider = gradio.Slider(maximum=max(last, 1), value=last // 2, visible=last > 0)
        table = area_table(result.table, result.dice, result.meaning.has_background)
        masks = gradio.File(result.masks, label=masks_label(result.meaning.multi_label), visible=True)
        return [result, slider, show(result, last // 2, opacity), masks, table]

    def show(result, index, opacity):
        """The picture of a slice."""
        return None if result is None else draw_view(result.views[int(index)], opacity, result.meaning)

    with gradio.Blocks(title="Segmentation", analytics_enabled=False) as page:
        gradio.Markdown("# Segmentation\nFiles stay on this machine.")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                choices = [(f"{name}: {expected[name]}", name) for name in weights]
                name = gradio.Dropdown(choices, value=weights[0], label="Weights", elem_id="weights")
                expects = gradio.Markdown(describe(expected[weights[0]]), elem_id="expects")
                file = gradio.File(label="Image, TIFF stack or NIfTI volume", height=120, elem_id="file")
                truth = gradio.File(label="Its true mask (for Dice; may be left out)", height=120, elem_id="truth")
                button = gradio.Button("Segment", variant="primary", elem_id="segment")
            with gradio.Column(scale=2, min_width=280):
                picture = gradio.Image(
                    show_label=False,
                    interactive=False,
                    format="png",
                    buttons=["fullscreen", "download"],
                    elem_id="picture",
                )
                slider = gradio.Slider(0, 1, step=1, label="Slice", visible=False, buttons=[], elem_id="slice")
                opacity = gradio.Slider(
                    0, 1, OPACITY, step=0.05, label="Opacity of the classes", buttons=[], elem_id="opacity"
                )
                message = gradio.Markdown(elem_id="message")
                masks = gradio.File(interactive=False, visible=False, elem_id="mask")
        result = gradio.State(None)
        button.click(run, [name, file, truth, opacity], [result, slider, picture, masks, message])
        for moved in (slider, opacity):  # by the user: what `run` sets is drawn already
            moved.input(show, [result, slider, opacity], picture, show_progress="hidden", trigger_mode="always_last")
        name.change(lambda name: describe(expected[name]), name, expects)
    answer_in_one_line(page)
    return page


def describe(expected: Expectation) -> str:
    """What weights expect, as Markdown: the names of classes with their colours."""
    names = [
        f"{swatch(index, expected.has_background)}&nbsp;{markdown_text(name)}"
        for index, name in enumerate(expected.classes)
    ]
    score = f"best validation {expected.score}" if expected.score else "its score is in no log"
    channels = counted(expected.channels, "channel")
    return f"**{expected.model}**: {expected.size}, {channels}; {score}\n\n{' &ensp; '.join(names)}"


def masks_label(multi_label: bool) -> str:
    """What the values of the masks mean."""
    return "Masks (a bit for each class)" if multi_label else "Masks (pixel value = class)"


def answer_in_one_line(page: gradio.Blocks) -> None:
    """Let a request that fails, as those that programs make may do, print one line in place of a traceback."""
    gradio, answer = import_gradio(), page.process_api

    async def process_api(*args: Any, **kwargs: Any) -> Any:
        try:
            return await answer(*args, **kwargs)
        except Exception as error:  # of Gradio's checks, of many types
            first, *_ = [*str(error).strip().splitlines(), ""]
            message = printable(f"{type(error).__name__}: {first}")
            print(f"A request could not be answered ({message}).", file=sys.stderr)
            raise gradio.Error(message, print_exception=False) from None

    page.process_api = process_api  # type: ignore[method-assign]


def area_table(path: Path, dice: Sequence[float | None] | None = None, has_background: bool = True) -> str:
    """The areas of predictions.csv, summed over slices, as a Markdown table with the colours of the classes.

    Args:
        path: of predictions.csv.
        dice: of each class in the whole file; adds a column, and a line with the mean.
        has_background: whether the mean leaves out class 0.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    areas = {
        key.removeprefix("area_"): sum(int(row[key]) for row in rows) for key in rows[0] if key.startswith("area_")
    }
    total = sum(int(row["height"]) * int(row["width"]) for row in rows)  # of classes that overlap not the sum of areas
    lines = [
        f"| {swatch(index, has_background)} | {markdown_text(name)} | {area:,} | {area / total:.2%} |"
        for index, (name, area) in enumerate(areas.items())
    ]
    unit = "voxels" if len(rows) > 1 else "pixels"
    head = [f"| | class | {unit} | share |", "| --- | --- | ---: | ---: |"]
    if dice is None:
        return "\n".join([*head, *lines])
    scores = [" none |" if score is None else f" {score:.3f} |" for score in dice]
    lines = [line + score for line, score in zip([*head, *lines], [" Dice |", " ---: |", *scores], strict=True)]
    known = [score for score in dice[has_background:] if score is not None]
    left_out = f" without {markdown_text(next(iter(areas)))}" if has_background else ""
    mean = f" Mean Dice{left_out}: {sum(known) / len(known):.3f}." if known else ""
    return "\n".join([*lines, "", f"Dashed: the truth.{mean}"])


def swatch(index: int, has_background: bool = True) -> str:
    """A square of the colour of a class, as HTML; for the background an empty one."""
    colored = index > 0 or not has_background
    color = hex_color(class_color(index) if colored else BACKGROUND)
    return f'<span style="color:{color}">{"■" if colored else "□"}</span>'


def markdown_text(name: str) -> str:
    """A name as it stands in Markdown and its tables: no markup of its own."""
    return re.sub(r"[^\w\s.-]", lambda match: f"&#{ord(match[0])};", name)


def launch_options() -> dict[str, Any]:
    """Options of `launch`: the page loads nothing from elsewhere, answers this machine alone, and limits uploads."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return {
        "theme": theme(),
        "css": CSS,
        "footer_links": [],
        "max_file_size": MAX_FILE_SIZE,
        "enable_monitoring": False,
        "app_kwargs": {"middleware": [Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)]},
    }


def theme() -> gradio.themes.Base:
    """Gradio's default without its web fonts: the page loads nothing from the network."""
    return import_gradio().themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])


def import_gradio() -> ModuleType:
    """Gradio, with its analytics off.

    Raises:
        UserError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError:
        raise UserError("app.py needs Gradio: pip install -r requirements-app.txt") from None
    return gradio


if __name__ == "__main__":
    command(app)()
