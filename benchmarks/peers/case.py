"""What peers.py measures, and how its processes talk: a line of JSON for every line that they are sent."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(BENCHMARKS.parent), str(BENCHMARKS)]

MARK = "PEER "  # before the lines that peers.py reads
CLASSES = 2
OURS, OWN_FORM, SMP, PLAIN, MONAI = (
    "ours",
    "ours, own form",
    "segmentation_models.pytorch",
    "PyTorch",
    "MONAI BasicUNet",
)


@dataclass(frozen=True)
class Network:
    """A row of NETWORKS.

    Attributes:
        settings: of train.py.
        same: what makes ours the network of the first peer, layer for layer. `ours, own form` goes without.
        peers: what it is compared with, the first above all.
        encoder: the name of the encoder in segmentation_models.pytorch.
        widths: of the plain encoder.
        size: height and width in pixels.
        batch: images of a training step.
    """

    settings: tuple[str, ...]
    peers: tuple[str, ...]
    same: tuple[str, ...] = ()
    encoder: str = ""
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    size: int = 256
    batch: int = 4


def on_backbone(kind: str, backbone: str, encoder: str, *same: str) -> Network:
    settings = (f"MODEL.TYPE={kind}", f"MODEL.BACKBONE.TYPE={backbone}", "MODEL.DECODER.UPSAMPLE=nearest")
    return Network(settings, (SMP,), tuple(f"MODEL.{setting}" for setting in same), encoder)


def taking(*layers: str) -> str:
    """The maps that the decoder takes, as Keras names them; the application takes wider ones of some encoders."""
    return f"BACKBONE.SKIP_LAYERS=[{','.join(layers)}]"


NARROW = (16, 32, 64, 128, 256)
AS_TORCHVISION = "BACKBONE.VARIANT=pytorch"
NETWORKS = {
    "unet_mobilenetv2": on_backbone(
        "unet",
        "mobilenetv2",
        "mobilenet_v2",
        taking("expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "out_relu"),
    ),
    "unet_efficientnetb0": on_backbone(
        "unet",
        "efficientnetb0",
        "efficientnet-b0",
        taking("stem_activation", "block2b_add", "block3b_add", "block5a_project_bn", "block7a_project_bn"),
    ),
    "unet_resnet50": on_backbone("unet", "resnet50", "resnet50", AS_TORCHVISION),
    "unet_vgg16": on_backbone(
        "unet",
        "vgg16",
        "vgg16",
        taking(*(f"block{block}_conv{2 if block < 3 else 3}" for block in range(1, 6)), "block5_pool"),
        "DECODER.CENTER_CONVS=2",
    ),
    "unet++_resnet50": on_backbone("unet++", "resnet50", "resnet50", AS_TORCHVISION, "DECODER.INNER_FILTERS=encoder"),
    "unet_16": Network(("MODEL.TYPE=unet", "MODEL.HEAD.KERNEL=1"), (PLAIN, MONAI), widths=NARROW, batch=16),
    "unet_64": Network(("MODEL.TYPE=unet", "MODEL.HEAD.KERNEL=1"), (PLAIN,)),
    "unet3plus": Network(("MODEL.TYPE=unet3plus",), (PLAIN,), size=320, batch=2),
}


@dataclass(frozen=True)
class Case:
    """One implementation of a case.

    Attributes:
        mode: training | inference | epoch, which reads PNG files with the augmentation `light`.
        precision: float32 | bfloat16.
        data: folder of the PNG files, for an epoch.
        started: `time.time()` at the command.
    """

    network: str
    mode: str
    precision: str
    batch: int
    implementation: str
    data: str = ""
    started: float = 0.0

    @property
    def row(self) -> Network:
        return NETWORKS[self.network]

    @property
    def size(self) -> int:
        return self.row.size

    @property
    def group(self) -> str:
        """What its peers share with it."""
        return f"{self.network} {self.mode} {self.precision} b{self.batch}"

    def as_argument(self, started: float) -> str:
        return json.dumps(asdict(self) | {"started": started})


@dataclass
class Engine:
    """A network and its data.

    Attributes:
        first: takes one step.
        step: takes one step, or an epoch; returns once it is done.
        images: of a step.
        parameters: trainable ones.
    """

    first: Callable[[], Any]
    step: Callable[[], Any]
    images: int
    parameters: int


def serve(make_engine: Callable[[Case], Engine]) -> None:
    """Build the engine of the command line; then take as many steps as each line of stdin says."""
    from gpu_case import process_gib

    case = Case(**json.loads(sys.argv[1]))
    engine = make_engine(case)
    built_gib = process_gib()
    engine.first()
    report(
        first_seconds=time.time() - case.started,
        parameters=engine.parameters,
        images=engine.images,
        built_gib=built_gib,
    )
    for line in sys.stdin:
        steps = int(line)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            engine.step()
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
        report(seconds=seconds / steps, cpu_seconds=cpu_seconds / steps, peak_gib=process_gib())


def report(**row: Any) -> None:
    print(MARK + json.dumps(row), flush=True)
