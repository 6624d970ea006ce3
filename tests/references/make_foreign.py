"""Outputs of foreign networks under drawn weights, for `test_foreign_weights.py`: `python make_foreign.py CLONES`.

Runs in an environment with torch and segmentation_models_pytorch 0.6.0. CLONES holds the repositories
`brain-segmentation-pytorch` (d45f890) and `Pytorch-UNet` (21d7850), unchanged. Writes `foreign_torch.npz` beside this
file: of each network `<name>/layout`, JSON {name of an array: shape} as bytes, and `<name>/logits`: the `sample` of
what it makes of `drawn_images`.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script

import numpy as np
from drawn_helpers import drawn, drawn_images, sample


def networks(clones: Path) -> dict:
    """{name: network}, the output of each is logits."""
    import segmentation_models_pytorch as smp
    from torch import nn

    sys.path.insert(0, str(clones / "Pytorch-UNet"))
    from unet import unet_model, unet_parts

    brain: dict = {}  # its module is called unet too
    exec((clones / "brain-segmentation-pytorch" / "unet.py").read_text().replace("torch.sigmoid", ""), brain)

    def bilinear() -> nn.Module:
        """A sixteenth of its widths."""
        network = unet_model.UNet(1, 3, bilinear=True)
        network.inc = unet_parts.DoubleConv(1, 4)
        for level, (width, below) in enumerate(((4, 8), (8, 16), (16, 32), (32, 32)), 1):
            setattr(network, f"down{level}", unet_parts.Down(width, below))
        for level, (width, above) in enumerate(((64, 16), (32, 8), (16, 4), (8, 4)), 1):
            setattr(network, f"up{level}", unet_parts.Up(width, above, bilinear=True))
        network.outc = unet_parts.OutConv(4, 3)
        return network

    def narrow(biased: bool) -> nn.Module:
        network = unet_model.UNet(1, 3)
        widths = (4, 6, 8, 10, 12)
        network.inc = unet_parts.DoubleConv(1, widths[0])
        for level in range(4):
            setattr(network, f"down{level + 1}", unet_parts.Down(widths[level], widths[level + 1]))
            up = unet_parts.Up(2 * widths[3 - level], widths[3 - level])
            up.up = nn.ConvTranspose2d(widths[4 - level], widths[3 - level], 2, 2)
            setattr(network, f"up{level + 1}", up)
        network.outc = unet_parts.OutConv(widths[0], 3)
        if biased:  # as all versions before 2021
            for block in [module for module in network.modules() if isinstance(module, unet_parts.DoubleConv)]:
                for place in (0, 3):
                    conv = block.double_conv[place]
                    block.double_conv[place] = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
        return network

    small = {"encoder_weights": None, "decoder_channels": (24, 16, 12, 8, 4)}
    return {
        "mateuszbuda": brain["UNet"](init_features=4),
        "milesial": narrow(False),
        "milesial_biased": narrow(True),
        "milesial_bilinear": bilinear(),
        "unet_resnet18": smp.Unet("resnet18", classes=2, **small),
        "unet_resnet50": smp.Unet("resnet50", classes=2, **small),
        "unet_mobilenetv2": smp.Unet("mobilenet_v2", classes=3, in_channels=1, **small),
        "unet_vgg16": smp.Unet("vgg16", classes=2, **small),
        "unet_vgg16_bn": smp.Unet("vgg16_bn", classes=2, **small),
        "unet_efficientnetb0": smp.Unet("efficientnet-b0", classes=1, **small),
        "unet_efficientnetb2": smp.Unet("efficientnet-b2", classes=2, **small),
        "unetplusplus_vgg16_bn": smp.UnetPlusPlus("vgg16_bn", classes=2, **small),
        "unetplusplus_mobilenetv2": smp.UnetPlusPlus("mobilenet_v2", classes=2, **small),
    }


def main() -> None:
    import torch

    kept = {}
    for name, network in networks(Path(sys.argv[1])).items():
        state = network.eval().state_dict()
        for key, value in state.items():
            value.copy_(torch.from_numpy(drawn(key, tuple(value.shape))))
        channels = next(value.shape[1] for value in state.values() if value.ndim == 4)
        images = torch.from_numpy(drawn_images(channels)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            logits = network(images).permute(0, 2, 3, 1).numpy()
        layout = json.dumps({key: list(value.shape) for key, value in state.items()})
        kept[f"{name}/layout"] = np.frombuffer(layout.encode(), np.uint8)
        kept[f"{name}/logits"] = sample(logits)
        print(name, logits.shape, kept[f"{name}/logits"][:2])
    np.savez_compressed(Path(__file__).with_name("foreign_torch.npz"), **kept)


if __name__ == "__main__":
    main()
