"""Masks: PNG of a picture, TIFF of a stack, NIfTI of a volume; class indices as values."""

from utils.inference.writers import MaskPrediction, Writer


class MaskWriter(Writer[MaskPrediction]):
    """Writes `masks/<name>` in the format that fits the source."""

    def write(self, prediction: MaskPrediction) -> None:
        source = prediction.source
        source.save_mask(self.folder / "masks" / f"{source.name}{source.ending}", prediction.labels)
