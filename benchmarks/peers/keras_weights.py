"""Keras's ImageNet weights of MobileNetV2 in the encoder of segmentation_models.pytorch.

    python benchmarks/peers/keras_weights.py WEIGHTS.h5 BATCH.npz

says how far the encoder's last map is from that in BATCH.npz (images `(batch, height, width, 3)` in [-1, 1] and outputs
`(batch, height / 32, width / 32, 1280)` of the Keras network).
"""

import sys
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import torch
from torch import nn
from torch.nn import functional

BLOCKS = 16


def layer_names() -> Iterator[str]:
    """The convolutions and normalisations of Keras's network in order, as PyTorch's lists its modules."""
    yield from ("Conv1", "bn_Conv1")
    for block in ("expanded_conv", *(f"block_{number}" for number in range(1, BLOCKS + 1))):
        for part in ("expand", "depthwise", "project")[block == "expanded_conv" :]:
            yield from (f"{block}_{part}", f"{block}_{part}_BN")
    yield from ("Conv_1", "Conv_1_bn")


def load_keras_mobilenetv2(encoder: nn.Module, path: str) -> None:
    """Give the encoder these weights, and what they expect: epsilon 1e-3, and maps padded below and on the right.

    A convolution of stride 2 pads one row above and one below in PyTorch, in Keras one row below: other pixels are
    kept. The padding becomes Keras's, so that the outputs are equal.
    """
    modules = [module for module in encoder.modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    with h5py.File(path) as file, torch.no_grad():
        for module, name in zip(modules, layer_names(), strict=True):
            stored = {key.split(":")[0]: np.asarray(value) for key, value in leaves(file[name])}
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-3
                tensors = (module.weight, module.bias, module.running_mean, module.running_var)
                for tensor, key in zip(tensors, ("gamma", "beta", "moving_mean", "moving_variance"), strict=True):
                    tensor.copy_(torch.from_numpy(stored[key]))
                continue
            kernel = stored["depthwise_kernel"] if "depthwise_kernel" in stored else stored["kernel"]
            axes = (2, 3, 0, 1) if module.groups > 1 else (3, 2, 0, 1)
            module.weight.copy_(torch.from_numpy(kernel.transpose(axes)))
            if module.stride == (2, 2):
                module.padding = (0, 0)
                module.register_forward_pre_hook(pad_as_keras)


def leaves(group: Any) -> Iterator[tuple[str, Any]]:
    for key, value in group.items():
        yield from leaves(value) if isinstance(value, h5py.Group) else [(key, value)]


def pad_as_keras(_: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """For maps of even height and width."""
    return (functional.pad(inputs[0], (0, 1, 0, 1)),)


def main() -> None:
    import segmentation_models_pytorch as smp

    encoder = smp.encoders.get_encoder("mobilenet_v2", weights=None).eval()
    load_keras_mobilenetv2(encoder, sys.argv[1])
    batch = np.load(sys.argv[2])
    with torch.inference_mode():
        found = encoder(torch.from_numpy(batch["images"]).permute(0, 3, 1, 2))[-1].permute(0, 2, 3, 1).numpy()
    print(f"{np.abs(found - batch['outputs']).max():.2e}")


if __name__ == "__main__":
    main()
