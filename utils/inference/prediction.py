"""Predict files: images of one size in batches, others tile by tile, and the probabilities into an output."""

import errno
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from utils.base.errors import UserError
from utils.base.wording import counted
from utils.inference.output import Output
from utils.inference.predictor import Predictor
from utils.inference.read_ahead import Progress, SourceImage, read_ahead
from utils.inference.sources import Source, SourceSettings
from utils.inference.uncertainty.members import Members


def predict_sources(
    predictor: Predictor,
    sources: Sequence[Source],
    reading: SourceSettings,
    output: Output,
    workers: int,
    verbose: bool = True,
) -> dict[Source, str]:
    """Predict every image of the sources and add it to the output.

    Args:
        predictor: the networks.
        sources: files and series, of `utils.inference.sources`.
        reading: how they are read.
        output: an entered `Output`; takes the images in order.
        workers: threads that read.
        verbose: show a progress bar.

    Returns:
        `{source: problem}` of the sources that could not be read or written; all others are done.
    """
    with Progress(len(sources), verbose) as progress:
        images = read_ahead(sources, reading, workers, progress)
        for item, probability, members in predict_images(predictor, images):
            if item.source in progress.problems:
                continue
            try:
                output.add(item, probability, members)
            except UserError as error:
                progress.failed(item.source, error)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:  # any other would come again at the next file
                    raise
                progress.failed(item.source, UserError(f"{item.source.path}: a name for its mask would be too long."))
            progress.update()
            if item.is_last:
                item.source.close()
    note_turned(sources)
    return progress.problems


def note_turned(sources: Sequence[Source]) -> None:
    """Say which masks lie otherwise than viewers show their images."""
    turned = [source.path for source in sources if source.is_turned]
    if turned:
        print(
            f"Note: {counted(len(turned), 'image')} with an EXIF rotation for display, such as {turned[0]}: masks lie "
            "on the pixels as stored, turned against what viewers show. For masks as shown: "
            "PREPROCESS_DATA.EXIF=apply.",
            file=sys.stderr,
        )


def predict_images(
    predictor: Predictor, images: Iterable[SourceImage]
) -> Iterator[tuple[SourceImage, np.ndarray | None, Members | None]]:
    """Yield each image with its probabilities `(height, width, classes)`, of the size that the network sees.

    With PREDICT.UNCERTAINTY they are None, and the members have them, on the grid of the mask.
    """
    for batch in batches(predictor, images):
        prepared = [image for _, image in batch]
        if predictor.members:
            for (item, _), members in zip(batch, add_members(predictor, batch), strict=True):
                yield item, None, members
            continue
        if predictor.needs_tiles(prepared[0].shape[:2]):
            probabilities: Iterable[np.ndarray] = map(predictor.predict_tiles, prepared)
        else:
            probabilities = predictor.predict(np.stack(prepared))
        for (item, _), probability in zip(batch, probabilities, strict=True):
            yield item, probability, None


def add_members(predictor: Predictor, batch: Sequence[tuple[SourceImage, np.ndarray]]) -> list[Members]:
    """The members of each image of a batch, added up."""
    assert predictor.members is not None
    each = [Members(predictor.members, partial(item.source.restore, size=item.image.shape[:2])) for item, _ in batch]
    for probabilities in predictor.each_member(np.stack([image for _, image in batch])):
        for members, probability in zip(each, probabilities, strict=True):
            members.add(probability)
    return each


def batches(predictor: Predictor, images: Iterable[SourceImage]) -> Iterator[list[tuple[SourceImage, np.ndarray]]]:
    """Group images, each with what the network sees of it, that can be predicted at once.

    Images of a batch have one size and type. A batch ends with a series, which is then complete and can be written.
    """
    batch: list[tuple[SourceImage, np.ndarray]] = []
    for item in images:
        prepared = predictor.prepare(item.image)
        if batch and not fits(batch[-1], item, prepared):
            yield batch
            batch = []
        batch.append((item, prepared))
        if len(batch) == predictor.batch_size or predictor.needs_tiles(prepared.shape[:2]):
            yield batch
            batch = []
    if batch:
        yield batch


def fits(last: tuple[SourceImage, np.ndarray], item: SourceImage, prepared: np.ndarray) -> bool:
    """Whether an image may be in one batch with the last one."""
    previous, other = last
    same_kind = other.shape == prepared.shape and other.dtype == prepared.dtype
    return same_kind and (item.source is previous.source or not previous.source.is_series)
