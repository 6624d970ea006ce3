"""The ImageNet backbones: which function builds each, which of its layers are the skips, which pixels it expects."""

from dataclasses import dataclass

RESNET = {2: "conv1_relu", 4: "conv2_block3_out", 8: "conv3_block4_out", 16: "conv4_block6_out", 32: "conv5_block3_out"}
RESNET18 = {2: "conv1_relu", **{stride: f"conv{stage}_block2_out" for stage, stride in enumerate((4, 8, 16, 32), 2)}}
EFFICIENTNET = {
    2: "block2a_expand_activation",
    4: "block3a_expand_activation",
    8: "block4a_expand_activation",
    16: "block6a_expand_activation",
    32: "top_activation",
}
MOBILENETV2 = {
    2: "block_1_expand_relu",
    4: "block_3_expand_relu",
    8: "block_6_expand_relu",
    16: "block_13_expand_relu",
    32: "block_16_project",
}
PRERESNET = {2: "relu0", **{2**stage: f"stage{stage}_unit1_relu1" for stage in (2, 3, 4)}, 32: "relu1"}
VGG16 = {1: "block1_conv2", 2: "block2_conv2", 4: "block3_conv3", 8: "block4_conv3", 16: "block5_conv3"}
VGG19 = {1: "block1_conv2", 2: "block2_conv2", 4: "block3_conv4", 8: "block4_conv4", 16: "block5_conv4"}


@dataclass(frozen=True)
class Pixels:
    """What pretrained weights expect of RGB pixels in [0, 1]: `(pixel - mean) / deviation`, perhaps as BGR."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    bgr: bool = False


# The means of the Caffe models are in BGR order and in 0..255, without a deviation.
CAFFE = Pixels(mean=(103.939 / 255, 116.779 / 255, 123.68 / 255), deviation=(1 / 255, 1 / 255, 1 / 255), bgr=True)
TORCH = Pixels(mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))
BYTES = Pixels(mean=(0, 0, 0), deviation=(1 / 255, 1 / 255, 1 / 255))  # the network normalises them itself
SYMMETRIC = Pixels(mean=(0.5, 0.5, 0.5), deviation=(0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Backbone:
    """One row of BACKBONES."""

    build: str  # "module:function"
    skips: dict[int, str]  # {stride: layer name}, the coarsest is the bottleneck
    pixels: Pixels
    weights: tuple[str, ...] = ("imagenet",)
    pytorch: str | None = None  # MODEL.BACKBONE.VARIANT=pytorch: "module:function", None: there is no difference


BACKBONES = {
    "vgg16": Backbone("keras.applications:VGG16", VGG16, CAFFE),
    "vgg19": Backbone("keras.applications:VGG19", VGG19, CAFFE),
    "resnet18": Backbone("models.encoders.resnet:ResNet18", RESNET18, TORCH, ()),
    "resnet34": Backbone("models.encoders.resnet:ResNet34", RESNET, TORCH, ()),
    "resnet50": Backbone("keras.applications:ResNet50", RESNET, CAFFE, pytorch="models.encoders.resnet:ResNet50"),
    "resnet101": Backbone("keras.applications:ResNet101", RESNET, CAFFE, pytorch="models.encoders.resnet:ResNet101"),
    "resnet152": Backbone("keras.applications:ResNet152", RESNET, CAFFE, pytorch="models.encoders.resnet:ResNet152"),
    **{
        f"preresnet{depth}": Backbone(f"models.encoders.preresnet:PreResNet{depth}", PRERESNET, BYTES, ())
        for depth in (18, 34, 50, 101, 152)
    },
    "mobilenetv2": Backbone(
        "keras.applications:MobileNetV2", MOBILENETV2, SYMMETRIC, pytorch="models.encoders.mobilenet:MobileNetV2"
    ),
    **{
        f"efficientnetb{size}": Backbone(
            f"models.encoders.efficientnet:EfficientNetB{size}",
            EFFICIENTNET,
            TORCH,
            ("imagenet", "noisy-student"),
            f"models.encoders.efficientnet:PytorchB{size}",
        )
        for size in range(8)
    },
}
