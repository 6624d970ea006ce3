"""Cases of gpu.py in PyTorch: eager or compiled, channels first or last, bfloat16 by autocast."""

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
from gpu_case import CLASSES, Case, Engine, no_device, process_gib, random_batch
from torch.nn import functional
from torch_networks import UNet, UNet3Plus


def make_engine(case: Case) -> Engine:
    """See `gpu_case.Engine`."""
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not case.toy:
        raise no_device("PyTorch")
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = case.precision != "float32"
    network = build(case).to(device)
    images, masks = (torch.from_numpy(array).to(device) for array in random_batch(case))
    images = images.permute(0, 3, 1, 2).contiguous()
    if "channels last" in case.implementation:
        network, images = network.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    run = torch.compile(network) if "compiled" in case.implementation else network
    autocast = torch.autocast(device.type, torch.bfloat16) if case.precision == "bfloat16" else contextlib.nullcontext()

    def forward() -> torch.Tensor:
        with torch.inference_mode(), autocast:
            return run(images).float().softmax(1)

    training = case.mode == "training"
    network.train(training)
    return Engine(
        train_step(network, run, images, masks[..., 0].long(), autocast) if training else forward,
        (lambda _: torch.cuda.synchronize()) if on_gpu else (lambda _: None),
        (lambda: torch.cuda.max_memory_allocated() / 2**30) if on_gpu else process_gib,
        (lambda: difference(network, forward, images)) if case.check and not training else None,
        torch.cuda.get_device_name() if on_gpu else "cpu",
    )


def build(case: Case) -> torch.nn.Module:
    kind, _, vgg = case.network.partition("_")
    return UNet(CLASSES, case.widths) if kind == "unet" else UNet3Plus(CLASSES, case.widths, vgg or None)


def train_step(network: Any, run: Any, images: torch.Tensor, labels: torch.Tensor, autocast: Any) -> Callable[[], Any]:
    optimizer = torch.optim.Adam(network.parameters(), fused=images.is_cuda or None)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = functional.cross_entropy(run(images).float(), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def difference(network: torch.nn.Module, forward: Callable[[], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """As `gpu_keras.difference`: image 0 against float64 on the CPU, with the statistics of that image."""
    exact = copy.deepcopy(network).cpu().double()
    image = images[:1].cpu().double()
    for module in exact.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        exact.train()(image)
        network.load_state_dict(exact.state_dict())  # rounds to float32, in place
        exact.load_state_dict(network.state_dict())
        wanted = exact.eval()(image).softmax(1)[0]
    return (forward()[0].cpu().double() - wanted).abs()
