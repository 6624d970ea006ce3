"""Parameters and CPU time of one image for each model of the README: python benchmarks/model_table.py

Times `inference_model(build_model(cfg))` on one 256x256x3 image. All models are built first and take their steps in
turn; the median is printed, because machines are shared.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from utils.base.closed_output import survive_closed_output

MODELS = {
    "tiny_unet3plus": ["MODEL.TYPE=tiny_unet3plus"],
    "conv_deconv": ["MODEL.TYPE=conv_deconv"],
    "unet": ["MODEL.TYPE=unet"],
    "unet on mobilenetv2": ["MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=mobilenetv2"],
    "unet on efficientnetb0": ["MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=efficientnetb0"],
    "unet on resnet50": ["MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=resnet50"],
    "unet++": ["MODEL.TYPE=unet++"],
    "unet3plus": ["MODEL.TYPE=unet3plus"],
    "unet3plus_deepsup": ["MODEL.TYPE=unet3plus_deepsup"],
    "unet3plus_deepsup_cgm": ["MODEL.TYPE=unet3plus_deepsup_cgm"],
}


@survive_closed_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=9, help="timed steps of each model")
    options = parser.parse_args()

    import tensorflow as tf

    from models import build_model, inference_model
    from utils.config import load_config

    image = tf.random.uniform((options.batch, options.size, options.size, 3), seed=0)
    size = [f"INPUT.HEIGHT={options.size}", f"INPUT.WIDTH={options.size}"]
    parameters, steps = {}, {}
    for name in options.models:
        model = build_model(load_config([*size, *MODELS[name]]))
        parameters[name] = model.count_params()
        steps[name] = tf.function(inference_model(model), jit_compile=False)
        steps[name](image)
    seconds = {name: [] for name in steps}
    for _ in range(options.steps):
        for name, step in steps.items():
            start = time.perf_counter()
            step(image).numpy()
            seconds[name].append(time.perf_counter() - start)
    print(f"{'model':<26}{'parameters':>14}{'median ms':>12}{'fastest ms':>12}")
    for name, times in seconds.items():
        row = f"{name:<26}{parameters[name]:>14,}"
        print(f"{row}{1000 * statistics.median(times):>12.0f}{1000 * min(times):>12.0f}")


if __name__ == "__main__":
    main()
