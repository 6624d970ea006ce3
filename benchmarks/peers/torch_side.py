"""The peers in a process of peers.py: segmentation_models.pytorch, MONAI and plain PyTorch, channels last."""

import contextlib
from pathlib import Path
from typing import Any

from case import CLASSES, MONAI, SMP, Case, Engine, serve


def build(case: Case) -> Any:
    """A network with new weights, images -> logits."""
    if case.implementation == SMP:
        import segmentation_models_pytorch as smp

        kind = smp.UnetPlusPlus if "++" in case.network else smp.Unet
        return kind(case.row.encoder, encoder_weights=None, classes=CLASSES)
    if case.implementation == MONAI:
        from monai.networks.nets import BasicUNet

        widths = (*case.row.widths, case.row.widths[0])
        return BasicUNet(2, 3, CLASSES, features=widths, norm="batch", act="relu", upsample="deconv")
    from torch_networks import UNet, UNet3Plus

    return (UNet3Plus if case.network == "unet3plus" else UNet)(CLASSES, case.row.widths)


def make_engine(case: Case) -> Engine:
    """See `case.Engine`."""
    import torch

    torch.manual_seed(0)
    network = build(case).to(memory_format=torch.channels_last)
    network.train(case.mode != "inference")
    autocast = torch.autocast("cpu", torch.bfloat16) if case.precision == "bfloat16" else contextlib.nullcontext()
    parameters = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    if case.mode == "epoch":
        return of_epochs(case, network, autocast, parameters)
    from gpu_case import random_batch
    from gpu_torch import train_step

    images, masks = map(torch.from_numpy, random_batch(case))  # type: ignore[arg-type]
    images = images.permute(0, 3, 1, 2).to(memory_format=torch.channels_last)
    if case.mode == "training":
        step = train_step(network, network, images, masks[..., 0].long(), autocast)
    else:

        def step() -> torch.Tensor:
            with torch.inference_mode(), autocast:
                return network(images).float().softmax(1)

    return Engine(step, step, case.batch, parameters)


def of_epochs(case: Case, network: Any, autocast: Any, parameters: int) -> Engine:
    import torch
    from picture_data import Pairs, batches
    from torch.nn import functional

    loader = batches(Pairs(Path(case.data), light=True), case.batch, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters())

    def take(images: torch.Tensor, masks: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            logits = network(images.to(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits.float(), masks, ignore_index=255)
        loss.backward()
        optimizer.step()
        loss.item()

    def epoch() -> None:
        for images, masks in loader:
            take(images, masks)

    return Engine(lambda: take(*next(iter(loader))), epoch, len(loader.dataset), parameters)


if __name__ == "__main__":
    serve(make_engine)
