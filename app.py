"""A page in the browser that segments one file at a time: python app.py

Gradio and Keras are imported when the page is made, so that --help and config errors do without them.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from data_preparation.scans.file_kinds import NIFTI_SUFFIXES
from utils.base.errors import UserError, printable
from utils.base.files import resolve_path
from utils.base.listing import list_folder
from utils.checkpoints import ENDING
from utils.config.command import command

if TYPE_CHECKING:
    import gradio

ADDRESS = "127.0.0.1"  # this machine alone
HOSTS = [ADDRESS, "localhost", "[::1]"]  # a page elsewhere whose name leads here is refused
MAX_FILE_SIZE = "4gb"
ENDINGS = [*NIFTI_SUFFIXES, ".gz", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"]


def app(cfg: DictConfig) -> None:
    """Serve the page until Ctrl-C; see APP in configs/config.yaml.

    Raises:
        UserError: no weights yet; Gradio is not installed; the port is taken.
    """
    weights = find_weights(cfg)
    with tempfile.TemporaryDirectory(prefix="segmentation-") as results:
        os.environ["GRADIO_TEMP_DIR"] = results  # what was uploaded is removed with the results
        page = make_page(cfg, weights, results)
        try:
            page.launch(server_name=ADDRESS, server_port=cfg.APP.PORT, share=False, **launch_options())
        except OSError as error:
            raise UserError(f"APP.PORT={cfg.APP.PORT}: {error}") from None


def find_weights(cfg: DictConfig) -> list[str]:
    """Names of all weights files in CALLBACKS.MODEL_CHECKPOINT.PATH, the newest first.

    Raises:
        UserError: there are none.
    """
    folder = resolve_path(cfg, cfg.CALLBACKS.MODEL_CHECKPOINT.PATH)
    paths = list_folder(folder, [ENDING]).files if folder.is_dir() else []
    if not paths:
        raise UserError(f"No weights in {folder}: train a model first, or set CALLBACKS.MODEL_CHECKPOINT.PATH.")
    return [path.name.removesuffix(ENDING) for path in sorted(paths, key=lambda path: -path.stat().st_mtime)]


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

    def failed(error):
        """The values that show an error."""
        return [[], gradio.Slider(visible=False), None, None, f"**Error:** {error}"]

    def run(name, path):
        """What the button does: values of pictures, slider, picture, mask and message."""
        if path is None:
            return [gradio.skip()] * 4 + ["Drop a file first."]
        if not path.lower().endswith(tuple(ENDINGS)):
            return failed(f"{Path(path).name} is no image or scan; these are read: {', '.join(ENDINGS)}.")
        try:
            pictures, mask, table = segment(name, Path(path))
        except (UserError, OSError) as error:
            return failed(error)
        last = len(pictures) - 1
        slider = gradio.Slider(maximum=max(last, 1), value=last // 2, visible=last > 0)
        return [pictures, slider, pictures[last // 2], mask, area_table(table)]

    with gradio.Blocks(title="Segmentation", analytics_enabled=False) as page:
        gradio.Markdown("# Segmentation\nImage and predicted contours. Files stay on this machine.")
        with gradio.Row():
            with gradio.Column(scale=1):
                name = gradio.Dropdown(weights, value=weights[0], label="Weights", elem_id="weights")
                file = gradio.File(label="Image, TIFF stack or NIfTI volume", elem_id="file")
                button = gradio.Button("Segment", variant="primary", elem_id="segment")
                message = gradio.Markdown(elem_id="message")
                mask = gradio.File(
                    label="Mask (value = class; of overlapping classes: bits)", interactive=False, elem_id="mask"
                )
            with gradio.Column(scale=3):
                picture = gradio.Image(
                    show_label=False, interactive=False, buttons=["fullscreen", "download"], elem_id="picture"
                )
                slider = gradio.Slider(0, 1, step=1, label="Slice", visible=False, elem_id="slice")
        pictures = gradio.State([])
        button.click(run, [name, file], [pictures, slider, picture, mask, message])
        slider.change(lambda pictures, index: pictures[int(index)] if pictures else None, [pictures, slider], picture)
    answer_in_one_line(page)
    return page


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


def area_table(path: Path) -> str:
    """The areas of predictions.csv, summed over slices, as a Markdown table."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    areas = {
        key.removeprefix("area_"): sum(int(row[key]) for row in rows) for key in rows[0] if key.startswith("area_")
    }
    total = sum(int(row["height"]) * int(row["width"]) for row in rows)  # of classes that overlap not the sum of areas
    lines = [f"| {name.replace('|', '&#124;')} | {area:,} | {area / total:.2%} |" for name, area in areas.items()]
    unit = "voxels" if len(rows) > 1 else "pixels"
    return "\n".join([f"| class | {unit} | share |", "| --- | ---: | ---: |", *lines])


def launch_options() -> dict[str, Any]:
    """Options of `launch`: the page loads nothing from elsewhere, answers this machine alone, and limits uploads."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return {
        "theme": theme(),
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
