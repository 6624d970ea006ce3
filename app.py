"""A page in the browser that segments one file at a time: python app.py"""

import csv
import os
import tempfile
import threading
from pathlib import Path

from data_preparation.common.sources import NIFTI, find_sources
from predict import Network, class_names, member_configs, predict_all, whole
from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.checkpoints import ENDING, restore_config
from utils.config.command import entry
from utils.inference.postprocessing import postprocessing

ADDRESS = "127.0.0.1"  # this machine alone
ENDINGS = [*NIFTI, ".gz", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"]


def app(cfg):
    """Serve the page until Ctrl-C; see APP in configs/config.yaml.

    Raises:
        UserError: no weights yet; Gradio is not installed; the port is taken.
    """
    page = make_page(cfg, find_weights(cfg))
    try:
        page.launch(server_name=ADDRESS, server_port=cfg.APP.PORT, share=False, theme=theme(), footer_links=[])
    except OSError as error:
        raise UserError(f"APP.PORT={cfg.APP.PORT}: {error}") from None


def find_weights(cfg):
    """Names of all weights files in CALLBACKS.MODEL_CHECKPOINT.PATH, the newest first."""
    folder = resolve_path(cfg, cfg.CALLBACKS.MODEL_CHECKPOINT.PATH)
    paths = list(folder.glob(f"*{ENDING}"))
    if not paths:
        raise UserError(
            f"There are no weights in {folder}: train a model first, or set CALLBACKS.MODEL_CHECKPOINT.PATH."
        )
    return [path.name.removesuffix(ENDING) for path in sorted(paths, key=lambda path: -path.stat().st_mtime)]


class Segmenter:
    """Holds the network that was used last, and predicts files with it.

    Args:
        cfg: the config of the command; its PREDICT holds.
        folder: results are written below it, a folder for each file.
    """

    def __init__(self, cfg, folder):
        self.cfg, self.folder = cfg, Path(folder)
        self.name, self.restored, self.network = None, None, None
        self.count = 0
        self.lock = threading.Lock()

    def load(self, name):
        if name != self.name:
            cfg = self.cfg.copy()
            cfg.PREDICT.ENSEMBLE, cfg.PREDICT.PICTURES, cfg.VERBOSE = [name], True, 0
            restored = whole(restore_config(member_configs(cfg)[0]))
            if restored.MODEL.TYPE == "classifier":
                raise UserError(f"{name} labels whole images: use predict.py.")
            self.network = Network([restored])
            self.name, self.restored = name, restored

    def __call__(self, name, path):
        """Segment a file.

        Returns:
            list of picture files, one per slice or page; the file of the labels; the table of areas.

        Raises:
            UserError: weights that do not fit, or a file that cannot be read.
        """
        from utils.inference.writers import PredictionWriter

        with self.lock:
            self.load(name)
            cfg = self.restored.copy()
            cfg.PREDICT.INPUT = [str(path)]
            (source,) = find_sources(cfg)
            self.count += 1
            writer = PredictionWriter(self.folder / str(self.count), cfg, class_names(cfg), postprocessing(cfg))
            with writer:
                failed = predict_all(cfg, self.network, writer, [source])
            if failed:
                raise UserError(failed[source])
        names = [f"{source.name}_{index}" for index in range(source.frames)] if source.is_series else [source.name]
        pictures = [str(writer.folder / "pictures" / f"{name}.png") for name in names]
        return (
            pictures,
            str(writer.folder / "masks" / f"{source.name}{source.ending}"),
            writer.folder / "predictions.csv",
        )


def make_page(cfg, weights):
    """The page as `gradio.Blocks`."""
    gradio = import_gradio()
    results = tempfile.TemporaryDirectory(prefix="segmentation-")  # goes when the page does
    segment = Segmenter(cfg, results.name)

    def run(name, path):
        if path is None:
            return [gradio.skip()] * 4 + ["Drop a file first."]
        try:
            pictures, mask, table = segment(name, Path(path))
        except UserError as error:
            return [[], gradio.Slider(visible=False), None, None, f"**Error:** {error}"]
        last = len(pictures) - 1
        slider = gradio.Slider(maximum=max(last, 1), value=last // 2, visible=last > 0)
        return [pictures, slider, pictures[last // 2], mask, describe(table)]

    with gradio.Blocks(title="Segmentation", analytics_enabled=False) as page:
        page.results = results
        gradio.Markdown("# Segmentation\nImage, and contours of what the network sees. Files stay on this machine.")
        with gradio.Row():
            with gradio.Column(scale=1):
                name = gradio.Dropdown(weights, value=weights[0], label="Weights", elem_id="weights")
                file = gradio.File(label="Image, TIFF stack or NIfTI volume", file_types=ENDINGS, elem_id="file")
                button = gradio.Button("Segment", variant="primary", elem_id="segment")
                message = gradio.Markdown(elem_id="message")
                mask = gradio.File(label="Mask (value = class)", interactive=False, elem_id="mask")
            with gradio.Column(scale=3):
                picture = gradio.Image(
                    show_label=False, interactive=False, buttons=["fullscreen", "download"], elem_id="picture"
                )
                slice_ = gradio.Slider(0, 1, step=1, label="Slice", visible=False, elem_id="slice")
        pictures = gradio.State([])
        button.click(run, [name, file], [pictures, slice_, picture, mask, message])
        slice_.change(lambda pictures, index: pictures[int(index)] if pictures else None, [pictures, slice_], picture)
    return page


def describe(table):
    """The areas of predictions.csv, summed over slices, as a Markdown table."""
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    areas = {
        key.removeprefix("area_"): sum(int(row[key]) for row in rows) for key in rows[0] if key.startswith("area_")
    }
    total = sum(areas.values())
    lines = [f"| {name} | {area:,} | {area / total:.2%} |" for name, area in areas.items()]
    unit = "voxels" if len(rows) > 1 else "pixels"
    return "\n".join([f"| class | {unit} | share |", "| --- | ---: | ---: |", *lines])


def theme():
    """Gradio's default without its web fonts: the page asks nothing of the network."""
    return import_gradio().themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])


def import_gradio():
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError:
        raise UserError("app.py needs Gradio: pip install -r requirements-app.txt") from None
    return gradio


if __name__ == "__main__":
    entry(app)()
