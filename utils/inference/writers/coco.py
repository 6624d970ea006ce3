"""Results in the format of COCO: an entry per object of each foreground class, per piece without PREDICT.INSTANCES."""

import json

import numpy as np
from pycocotools import mask as coco

from utils.base.class_bits import in_region
from utils.base.pieces import find_pieces
from utils.inference.writers import MaskPrediction
from utils.inference.writers.text_file import TextFileWriter


class CocoWriter(TextFileWriter[MaskPrediction]):
    """Writes `coco_results.json`; the score of an entry is the mean probability of its class."""

    file_name = "coco_results.json"

    def begin(self) -> None:
        self.file.write("[")
        self.count = 0

    def end(self) -> None:
        self.file.write("\n]\n")

    def write(self, prediction: MaskPrediction) -> None:
        assert prediction.probabilities is not None
        for number, (name, labels) in enumerate(zip(prediction.names(), prediction.labels, strict=True)):
            for index, components in self.components(prediction, number, labels).items():
                self.write_class(name, index, components, prediction.probabilities[:, :, number])

    def components(self, prediction: MaskPrediction, number: int, labels: np.ndarray) -> dict[int, np.ndarray]:
        """`{class: int32 (height, width)}`, the objects of an image, or else its connected pieces."""
        if self.settings.instances:
            return self.settings.instances.by_class(prediction.objects[number], labels)
        foreground, multi_label = range(1, len(self.settings.class_names)), self.settings.multi_label
        return {index: find_pieces(in_region(labels, [index], multi_label)) for index in foreground}

    def write_class(self, name: str, index: int, components: np.ndarray, probability: np.ndarray) -> None:
        """Write the components of one class in one image."""
        image_id = int(name) if name.isdigit() else name
        without_background = len(self.settings.class_names) - probability.shape[-1]  # 1 of sigmoids
        channel = probability[..., index - without_background]
        for number in range(1, int(components.max(initial=0)) + 1):
            component = components == number
            runs = coco.encode(np.asfortranarray(component.astype(np.uint8)))
            entry = {
                "image_id": image_id,
                "category_id": index,
                "bbox": coco.toBbox(runs).astype(int).tolist(),
                "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
                "score": round(float(channel[component].mean()), 6),
            }
            self.file.write((",\n" if self.count else "\n") + json.dumps(entry))
            self.count += 1
