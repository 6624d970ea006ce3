"""python benchmarks/predict.py: images/s of predict.py and of plain loops, with the same weights.

The plain loop reads an image, calls `model.predict` on it alone and writes the mask; a second one also draws image and
mask with matplotlib. All take turns; medians are shown.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np

from models import build_model, inference_model
from predict import predict
from utils.base.closed_output import survive_closed_output
from utils.checkpoints import save_config, save_weights, weights_path
from utils.config import load_config


def plain_loop(model, paths, folder, figures):
    """The usual loop: one image at a time."""
    folder.mkdir(exist_ok=True)
    for path in paths:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) / np.float32(255)
        mask = model.predict(image[None], verbose=0)[0].argmax(-1).astype(np.uint8)
        cv2.imwrite(str(folder / path.name), mask)
        if figures:
            from matplotlib import pyplot

            figure, axes = pyplot.subplots(1, 2, figsize=(8, 4))
            axes[0].imshow(image)
            axes[1].imshow(mask)
            figure.savefig(folder / f"figure_{path.name}")
            pyplot.close(figure)


@survive_closed_output()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="unet")
    parser.add_argument("--filters", default="[16,32,64,128,256]")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    import matplotlib

    matplotlib.use("Agg")
    folder = Path(tempfile.mkdtemp())
    base = [f"WORK_DIR={folder}", f"MODEL.TYPE={options.model}", "VERBOSE=0", "PREDICT.OVERWRITE=True"]
    cfg = load_config(
        [
            *base,
            f"MODEL.FILTERS={options.filters}",
            f"INPUT.HEIGHT={options.size}",
            f"INPUT.WIDTH={options.size}",
            f"HYPER_PARAMETERS.BATCH_SIZE={options.batch}",
        ]
    )
    network = build_model(cfg)
    weights = weights_path(cfg)
    weights.parent.mkdir(parents=True)
    save_weights(network, weights)
    save_config(cfg, weights)
    model = inference_model(network)
    images = folder / "images"
    images.mkdir()
    for index in range(options.images):
        noise = np.random.default_rng(index).integers(0, 256, (options.size, options.size, 3), np.uint8)
        cv2.imwrite(str(images / f"{index}.png"), cv2.GaussianBlur(noise, (0, 0), 3))
    paths = sorted(images.iterdir())
    ours = load_config([*base, "PREDICT.INPUT=images"])
    without = load_config([*base, "PREDICT.INPUT=images", "PREDICT.PICTURES=False"])
    runs = {
        "plain loop, figures": lambda: plain_loop(model, paths, folder / "plain", True),
        "predict.py, pictures": lambda: predict(ours),
        "plain loop": lambda: plain_loop(model, paths, folder / "plain", False),
        "predict.py, no pictures": lambda: predict(without),
    }
    times = {name: [] for name in runs}
    plain_loop(model, paths[:2], folder / "plain", True)  # the plain model is compiled; ours is built within each run
    for _ in range(options.repeats):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    speed = {name: options.images / statistics.median(found) for name, found in times.items()}
    print("| way | images/s |\n| --- | --- |")
    for name, value in speed.items():
        print(f"| {name} | {value:.1f} |")
    print(f"with figures {speed['predict.py, pictures'] / speed['plain loop, figures']:.2f} times")
    print(f"without {speed['predict.py, no pictures'] / speed['plain loop']:.2f} times")


if __name__ == "__main__":
    main()
