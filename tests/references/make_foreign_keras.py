"""Outputs of foreign networks of Keras 2 under drawn weights: `python make_foreign_keras.py CLONES`.

Runs with TensorFlow 2.21, tf_keras 2.21, TF_USE_LEGACY_KERAS=1, SM_FRAMEWORK=tf.keras, efficientnet 1.1.1,
keras_applications 1.0.8 and image-classifiers 1.0.0. CLONES holds the repositories `segmentation_models` (5d24bbf) and
`UNet-3-Plus` (69bcb36), unchanged but for the widths of UNet 3+. Writes `foreign_keras.npz` as `make_foreign.py` does;
the layout has the paths of the arrays in the file that `save_weights` wrote.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script

import h5py
import numpy as np
from drawn_helpers import SIDE, drawn_images, drawn_of_keras, sample

UNET = {"encoder_weights": None, "decoder_filters": (24, 16, 12, 8, 4), "input_shape": (SIDE, SIDE, 3)}


def networks(clones: Path) -> Iterator[tuple[str, Any]]:
    """(name, network); the output of each is logits, or a list whose first are."""
    sys.path[:0] = [str(clones / "segmentation_models"), str(clones / "UNet-3-Plus")]
    import segmentation_models as sm

    from models import unet3plus_utils

    for encoder in ("vgg16", "mobilenetv2", "efficientnetb0", "resnet18", "resnet50"):
        yield f"sm_unet_{encoder}", sm.Unet(encoder, classes=2, activation="linear", **UNET)
    transposed = {"decoder_block_type": "transpose", **UNET}
    yield "sm_unet_mobilenetv2_transpose", sm.Unet("mobilenetv2", classes=1, activation="linear", **transposed)
    plain = {"decoder_use_batchnorm": False, **UNET}
    yield "sm_unet_mobilenetv2_without_norm", sm.Unet("mobilenetv2", classes=1, activation="linear", **plain)
    for file, function, classes in (
        ("unet3plus", "unet3plus", 3),
        ("unet3plus_deep_supervision", "unet3plus_deepsup", 3),
        ("unet3plus_deep_supervision_cgm", "unet3plus_deepsup_cgm", 1),
    ):
        text = (clones / f"UNet-3-Plus/models/{file}.py").read_text()
        for old, new in (
            ("[64, 128, 256, 512, 1024]", "[4, 6, 8, 10, 12]"),
            ("k.activations.softmax", ""),
            ("k.activations.sigmoid(d", "(d"),
            ("    d1 = dot_product(d1, cls)", ""),
            ("from .unet3plus_utils", "from models.unet3plus_utils"),
        ):
            text = text.replace(old, new)
        scope: dict = {"conv_block": unet3plus_utils.conv_block, "__name__": file}
        exec(text, scope)
        more = {} if function == "unet3plus" else {"training": True}
        yield function, scope[function]([SIDE, SIDE, 3], classes, **more)


def main() -> None:
    kept = {}
    for name, network in networks(Path(sys.argv[1])):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/weights.h5"
            network.save_weights(path)
            with h5py.File(path, "r+") as file:
                keys: list[str] = []
                file.visit(keys.append)
                layout = {key: file[key].shape for key in keys if isinstance(file[key], h5py.Dataset)}
                for key, shape in layout.items():
                    file[key][...] = drawn_of_keras(key, shape)
            network.load_weights(path)
        outputs = network(drawn_images(3))
        if name.endswith("cgm"):
            kept[f"{name}/presence"] = np.asarray(outputs[-1]) > 0.5
        outputs = outputs[0] if isinstance(outputs, list) else outputs
        kept[f"{name}/layout"] = np.frombuffer(json.dumps(layout).encode(), np.uint8)
        kept[f"{name}/logits"] = sample(np.asarray(outputs))
        print(name, outputs.shape, kept[f"{name}/logits"][:2])
    np.savez_compressed(Path(__file__).with_name("foreign_keras.npz"), **kept)


if __name__ == "__main__":
    main()
