"""predict.ipynb runs from top to bottom on what a training left."""

import cv2
import nbformat
import numpy as np
import pytest
from helpers import PROJECT, TINY, make_weights

nbclient = pytest.importorskip("nbclient")


def test_the_notebook_ends_in_a_figure(phantom, tmp_path):
    notebook = nbformat.read(PROJECT / "predict.ipynb", as_version=4)
    (settings,) = [cell for cell in notebook.cells if cell.source.startswith("SETTINGS")]
    make_weights(tmp_path, [*TINY, f"WORK_DIR={phantom}", f"CALLBACKS.MODEL_CHECKPOINT.PATH={tmp_path}"])
    settings.source = settings.source.replace("WORK_DIR=demo", f"WORK_DIR={phantom}").replace(
        "]", f', "CALLBACKS.MODEL_CHECKPOINT.PATH={tmp_path}", "PREDICT.OUTPUT_PATH={tmp_path}/out"]'
    )
    notebook.cells.append(nbformat.v4.new_code_cell('print("pixels", np.count_nonzero(read_mask(pair.mask)))'))
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(PROJECT)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(figures) == 2, outputs
    assert "(48, 48, 2)" in str(outputs)
    most = max(np.count_nonzero(cv2.imread(str(mask), -1)) for mask in (phantom / "data/val/mask").glob("*.png"))
    assert f"pixels {most}\n" in outputs[-1].text, "shows the slice with most foreground"
