"""Random changes of training samples: the knobs, the engines that carry them out, ready-made policies."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from data_generators.augmentation.knobs import AugmentationSettings

Array = TypeVar("Array")


class Augmentation(Protocol[Array]):
    """What the class of a row of ENGINES provides: it changes image and mask of one training sample as one.

    Everything random must depend on SEED, epoch and position alone. Then all loaders, and a resumed run, give the same
    samples.

    Attributes:
        in_graph: False: the engine takes NumPy arrays, and is called from several threads as samples are read. True: it
            takes tensors, and a loader calls it inside `tf.data.Dataset.map`.
        settings: the knobs, for a loader that carries them out itself (DALI).
    """

    in_graph: ClassVar[bool]
    settings: "AugmentationSettings"

    @classmethod
    def from_config(cls, cfg: "DictConfig") -> Self | None:
        """The augmentation of a checked config, or None if it changes nothing."""

    def __call__(self, image: Array, mask: Array | None, epoch: int, position: int) -> tuple[Array, Array | None]:
        """Change one sample; shapes and types of image and mask stay as they are.

        Args:
            image: `(height, width, channels)`. Arrays: uint8, uint16 or float32 in [0, 1]; tensors: float32 in [0, 1].
            mask: class indices modulo 256, uint8, uint16 or int32, or None. Arrays: `(height, width)`; tensors:
                `(height, width, 1)`.
            epoch, position: of the sample, see `data_generators.sampler.EpochSampler`.
        """


@dataclass(frozen=True)
class Engine:
    """A row of ENGINES: where an engine is, and what works with it. The check of the config reads it.

    Attributes:
        augmentation: "module:NAME" of a class that provides `Augmentation`.
        loaders: values of DATA_GENERATOR_TYPE that it works with; None: all (DALI carries its knobs out itself).
        class_labels: whether it works with MODEL.TYPE=classifier.
        policy_files: whether it reads AUGMENTATION.ALBUMENTATIONS.
        keep_foreground: whether it has AUGMENTATION.ZOOM.KEEP_FOREGROUND.
    """

    augmentation: str
    loaders: tuple[str, ...] | None = None
    class_labels: bool = False
    policy_files: bool = False
    keep_foreground: bool = False
