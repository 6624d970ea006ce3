"""Masks: PNG of a picture, TIFF of a stack, NIfTI of a volume; class indices as values."""

from utils.inference.writers import MaskPrediction, Writer
from utils.inference.writers.png import write_png


class MaskWriter(Writer[MaskPrediction]):
    """Writes `masks/<name>` in the format that fits the source."""

    def write(self, prediction: MaskPrediction) -> None:
        source = prediction.source
        path = self.folder / "masks" / f"{source.name}{source.ending}"
        if source.is_series:
            source.save(path, prediction.labels)
        else:
            write_png(path, prediction.labels[0])
