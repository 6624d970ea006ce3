"""Train segmentation_models.pytorch's U-Net on MobileNetV2 until it is told to stop (SIGTERM); equal_time.py starts it.

It writes a line of JSON after every epoch, with the scores of the validation images, and keeps the best weights by mean
IoU. When it is stopped, it adds a line with the scores of the best weights on each split that is there.
"""

import argparse
import copy
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from confusion import Confusion
from keras_weights import load_keras_mobilenetv2
from picture_data import Pairs, batches
from torch.nn import functional
from torch.utils.data import DataLoader

MULTIPLE = 32  # of which the sides of its images must be


class Stopped(Exception):
    """SIGTERM came."""


def stop(*_: Any) -> None:
    raise Stopped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train, val and perhaps test")
    parser.add_argument("log", type=Path, help="file for the lines of JSON")
    parser.add_argument("--size", type=int, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--ignored", type=int, default=255, help="mask value that is no class")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="learning rate of Adam")
    parser.add_argument("--weights", help="Keras's MobileNetV2 weights, .h5; without them from scratch")
    parser.add_argument("--epochs", type=int, default=1_000_000)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    torch.manual_seed(0)
    network = smp.Unet("mobilenet_v2", encoder_weights=None, classes=options.classes)
    if options.weights:
        load_keras_mobilenetv2(network.encoder, options.weights)
    network = network.to(memory_format=torch.channels_last)

    def loader(split: str, train: bool = False) -> DataLoader:
        pairs = Pairs(options.data / split, tuple(options.size), MULTIPLE, options.ignored, light=train)
        return batches(pairs, options.batch, shuffle=train)

    best: dict[str, Any] = {"iou_all_classes": -1.0}
    weights = network.state_dict()
    with options.log.open("w", buffering=1) as log:
        try:
            optimizer = torch.optim.Adam(network.parameters(), options.rate)
            dice = smp.losses.DiceLoss("multiclass", ignore_index=options.ignored)
            training, validation = loader("train", train=True), loader("val")
            for epoch in range(1, options.epochs + 1):
                network.train()
                for images, masks in training:
                    step(network, optimizer, dice, images.to(memory_format=torch.channels_last), masks, options.ignored)
                scores = {"epoch": epoch, **evaluate(network, validation, options)}
                if scores["iou_all_classes"] > best["iou_all_classes"]:
                    best, weights = scores, copy.deepcopy(network.state_dict())
                print(json.dumps(scores), file=log)
        except Stopped:
            pass
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        network.load_state_dict(weights)
        splits = [split for split in ("val", "test") if (options.data / split).exists()]
        print(json.dumps({split: evaluate(network, loader(split), options) for split in splits}), file=log)


def step(network: Any, optimizer: Any, dice: Any, images: torch.Tensor, masks: torch.Tensor, ignored: int) -> None:
    """One step of cross-entropy and soft Dice, each with weight 1."""
    optimizer.zero_grad()
    logits = network(images)
    (functional.cross_entropy(logits, masks, ignore_index=ignored) + dice(logits, masks)).backward()
    optimizer.step()


def evaluate(network: Any, loader: DataLoader, options: argparse.Namespace) -> dict[str, float]:
    network.eval()
    counts = Confusion(options.classes)
    with torch.inference_mode():
        for images, masks in loader:
            predicted = network(images.to(memory_format=torch.channels_last)).argmax(1)
            height, width = options.size
            counts.add(np.asarray(masks)[:, :height, :width], predicted.numpy()[:, :height, :width])
    return counts.scores()


if __name__ == "__main__":
    main()
