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
# Maps that segmentation_models.pytorch's decoder takes from its encoder, as Keras names them; the application takes
# wider ones by default.
SAME_MAPS = {
    "unet_mobilenetv2": "expanded_conv_project_BN,block_2_add,block_5_add,block_12_add,out_relu",
    "unet_efficientnetb0": "stem_activation,block2b_add,block3b_add,block5a_project_bn,block7a_project_bn",
}
OURS, OWN_MAPS, SMP, PLAIN, MONAI = (
    "ours",
    "ours, own maps",
    "segmentation_models.pytorch",
    "PyTorch",
    "MONAI BasicUNet",
)


@dataclass(frozen=True)
class Network:
    """A row of NETWORKS.

    Attributes:
        settings: of train.py.
        peers: what it is compared with, the first above all.
        encoder: the name of the encoder in segmentation_models.pytorch.
        widths: of the plain encoder.
        size: height and width in pixels.
        batch: images of a training step.
    """

    settings: tuple[str, ...]
    peers: tuple[str, ...]
    encoder: str = ""
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    size: int = 256
    batch: int = 4


def on_backbone(kind: str, backbone: str, encoder: str) -> Network:
    settings = (f"MODEL.TYPE={kind}", f"MODEL.BACKBONE.TYPE={backbone}", "MODEL.DECODER.UPSAMPLE=nearest")
    return Network(settings, (SMP,), encoder)


NARROW = (16, 32, 64, 128, 256)
NETWORKS = {
    "unet_mobilenetv2": on_backbone("unet", "mobilenetv2", "mobilenet_v2"),
    "unet_efficientnetb0": on_backbone("unet", "efficientnetb0", "efficientnet-b0"),
    "unet_resnet50": on_backbone("unet", "resnet50", "resnet50"),
    "unet_vgg16": on_backbone("unet", "vgg16", "vgg16"),
    "unet++_resnet50": on_backbone("unet++", "resnet50", "resnet50"),
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
    engine.first()
    report(first_seconds=time.time() - case.started, parameters=engine.parameters, images=engine.images)
    for line in sys.stdin:
        steps = int(line)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            engine.step()
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
        report(seconds=seconds / steps, cpu_seconds=cpu_seconds / steps, peak_gib=process_gib())


def report(**row: Any) -> None:
    print(MARK + json.dumps(row), flush=True)
