"""Make synthetic abdominal CT scans in the layout of the LiTS challenge, to try everything without a download.

    python data_preparation/make_phantom.py /tmp/phantom --volumes-train 4 --volumes-val 2 --size 96 --slices 24

The liver (110 HU, label 1) lies on the patient's right, its tumours (70 HU) carry label 2. A spleen of nearly the
same density lies on the left, so that a model has to learn positions, not only intensities.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import cv2
import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.base.wording import counted

TRAIN_FOLDER, VAL_FOLDER = "Training Batch 2", "Training Batch 1"  # as LiTS and the config name them
FIRST_TRAIN, FIRST_VAL = 28, 0  # numbers of the first volumes, as in LiTS
ORIENTATIONS = ("RAS", "LPS")  # used in turn, so that readers must respect the orientation
FIELD_MM, HEIGHT_MM = 410, 160  # width and height of the scanned region
AIR, FAT, SOFT, BONE, VESSEL, LIVER, SPLEEN, STOMACH, TUMOUR = -1000, -100, 40, 400, 150, 110, 120, 25, 70
NOISE = 15  # standard deviation in HU

Ellipsoid = tuple[np.ndarray, np.ndarray]  # centre and half axes, each (right, front, up)
Circle = tuple[np.ndarray, float]  # centre (right, front) and radius


def make_phantom(
    folder: str | Path,
    volumes_train: int = 4,
    volumes_val: int = 2,
    size: int = 96,
    slices: int = 24,
    seed: int = 5,
    overwrite: bool = False,
) -> list[Path]:
    """Write phantom scans and their segmentations.

    Args:
        folder: for `Training Batch 2/` (train) and `Training Batch 1/` (val), with `volume-N.nii` (int16, HU) and
            `segmentation-N.nii` (uint8: 0 background, 1 liver, 2 tumour).
        volumes_train, volumes_val: how many of each.
        size: pixels along both sides of a slice.
        slices: slices of a volume; the first and last show no liver.
        seed: the same seed gives the same files.
        overwrite: replace existing files.

    Returns:
        The volumes written, train first.

    Raises:
        UserError: a file exists and `overwrite` is false, or a size is too small.

    Example:
        >>> import tempfile
        >>> [path.name for path in make_phantom(tempfile.mkdtemp(), volumes_train=1, volumes_val=1, size=32, slices=8)]
        ['volume-28.nii', 'volume-0.nii']
    """
    if size < 32 or slices < 8:
        raise UserError(f"A phantom needs size >= 32 and slices >= 8, got size={size}, slices={slices}.")
    volumes = [Path(folder) / TRAIN_FOLDER / f"volume-{FIRST_TRAIN + index}.nii" for index in range(volumes_train)]
    volumes += [Path(folder) / VAL_FOLDER / f"volume-{FIRST_VAL + index}.nii" for index in range(volumes_val)]
    for path in [*volumes, *map(segmentation_of, volumes)]:
        if path.exists() and not overwrite:
            raise UserError(f"{path} already exists. Choose another folder, or replace it with --overwrite.")
    for index, path in enumerate(volumes):
        scan, labels = draw_patient(size, slices, np.random.default_rng([seed, index]))
        write_scan(path, scan, ORIENTATIONS[index % len(ORIENTATIONS)])
        write_scan(segmentation_of(path), labels, ORIENTATIONS[index % len(ORIENTATIONS)])
    return volumes


def segmentation_of(volume: Path) -> Path:
    """The path of the segmentation of a volume."""
    return volume.with_name(volume.name.replace("volume", "segmentation"))


def write_scan(path: Path, voxels: np.ndarray, orientation: str) -> None:
    """Write `(left to right, back to front, down to up)` voxels as NIfTI, stored in another orientation."""
    size, _, slices = voxels.shape
    spacing = (FIELD_MM / size, FIELD_MM / size, HEIGHT_MM / slices)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(count - 1) / 2 * step for count, step in zip(voxels.shape, spacing, strict=True)]
    image = nib.Nifti1Image(voxels, affine)
    image = image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(orientation)))
    image.header.set_xyzt_units("mm")
    with atomic_write(path) as temporary:
        nib.save(image, temporary)


def draw_patient(size: int, slices: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one patient.

    Returns:
        `(scan, labels)`: int16 HU and uint8, both `(size, size, slices)` in RAS order.
    """
    # Coordinates in [-1, 1]: to the patient's right, to the front, to the head.
    right, front = np.meshgrid(*[np.linspace(-1, 1, size, dtype=np.float32)] * 2, indexing="ij")
    patient = Anatomy(rng)
    scan = np.empty((size, size, slices), np.int16, order="F")
    labels = np.empty((size, size, slices), np.uint8, order="F")
    blur = size / 512 * 1.5 + 0.3  # pixels: edges are as sharp as a scanner's, at any size
    for index, up in enumerate(np.linspace(-1, 1, slices)):
        hounsfield, labels[:, :, index] = patient.draw(right, front, up)
        hounsfield = cv2.GaussianBlur(hounsfield, (0, 0), blur)
        hounsfield += rng.normal(0, NOISE, hounsfield.shape).astype(np.float32)
        scan[:, :, index] = np.rint(hounsfield)
    return scan, labels


class Anatomy:
    """The organs of one patient: positions and sizes are drawn once, then rendered slice by slice."""

    def __init__(self, rng: np.random.Generator) -> None:
        def near(*values: float, spread: float = 0.06) -> np.ndarray:
            return np.array(values) + rng.uniform(-spread, spread, len(values)) * np.abs(values)

        # Each organ: centre (right, front, up) and half axes in the same directions.
        self.body = near(0.88, 0.66, spread=0.05)
        self.fat = rng.uniform(0.86, 0.93)  # where the fat rim begins, as a share of the body
        self.right_lobe = near(0.42, 0.02, 0.05), near(0.30, 0.40, 0.62)
        self.left_lobe = near(0.08, 0.22, 0.15), near(0.34, 0.17, 0.40)
        self.spleen = near(-0.52, -0.20, 0.15), near(0.13, 0.24, 0.45)
        self.stomach = near(-0.36, 0.20, 0.20), near(0.19, 0.20, 0.50)
        self.spine = near(0.0001, -0.42), rng.uniform(0.10, 0.13)
        self.aorta = near(-0.06, -0.24), rng.uniform(0.035, 0.05)
        self.wave = rng.uniform(0.03, 0.08), rng.integers(2, 5), rng.uniform(0, 2 * np.pi)  # of the liver's outline
        self.tumours = [self.place_tumour(rng) for _ in range(rng.integers(1, 4))]

    def place_tumour(self, rng: np.random.Generator) -> Ellipsoid:
        """A tumour in the right lobe."""
        centre, axes = self.right_lobe
        return centre + axes * rng.uniform(-0.5, 0.5, 3), np.array([1, 1, 1.6]) * rng.uniform(0.05, 0.10)

    def draw(self, right: np.ndarray, front: np.ndarray, up: float) -> tuple[np.ndarray, np.ndarray]:
        """The slice at height `up`: float32 HU and uint8 labels, both of the shape of `right`."""
        hounsfield = np.full(right.shape, AIR, np.float32)
        body = np.hypot(right / self.body[0], front / self.body[1])
        hounsfield[body < 1] = FAT
        hounsfield[body < self.fat] = SOFT

        stomach = distance(self.stomach, right, front, up) < 1
        hounsfield[stomach] = STOMACH
        hounsfield[stomach & (front > self.stomach[0][1] + 0.5 * self.stomach[1][1])] = AIR  # air rises, lying down
        hounsfield[distance(self.spleen, right, front, up) < 1] = SPLEEN
        hounsfield[disc(self.aorta, right, front)] = VESSEL

        height, waves, phase = self.wave
        angle = np.arctan2(front - self.right_lobe[0][1], right - self.right_lobe[0][0])
        outline = 1 + height * np.sin(waves * angle + phase + 2 * up)
        lobes = np.minimum(distance(self.right_lobe, right, front, up), distance(self.left_lobe, right, front, up))
        liver = (lobes < outline) & (body < 0.95 * self.fat)
        tumour = np.zeros_like(liver)
        for place in self.tumours:
            tumour |= liver & (distance(place, right, front, up) < 1)
        hounsfield[liver] = LIVER
        hounsfield[tumour] = TUMOUR

        spine = disc(self.spine, right, front)
        hounsfield[spine] = BONE
        labels = (liver.astype(np.uint8) + tumour) * ~spine
        return hounsfield, labels


def distance(ellipsoid: Ellipsoid, right: np.ndarray, front: np.ndarray, up: float) -> np.ndarray:
    """Distance from the centre in half axes: below 1 inside."""
    centre, axes = ellipsoid
    offsets = ((right - centre[0]) / axes[0], (front - centre[1]) / axes[1], (up - centre[2]) / axes[2])
    return np.sqrt(sum(offset**2 for offset in offsets))


def disc(circle: Circle, right: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Where a circle is."""
    centre, radius = circle
    return np.hypot(right - centre[0], front - centre[1]) < radius


def main() -> None:
    """Write the scans and print how many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder to write to")
    parser.add_argument("--volumes-train", type=int, default=4, help="volumes in Training Batch 2 (default 4)")
    parser.add_argument("--volumes-val", type=int, default=2, help="volumes in Training Batch 1 (default 2)")
    parser.add_argument("--size", type=int, default=96, help="pixels along both sides of a slice (default 96)")
    parser.add_argument("--slices", type=int, default=24, help="slices of a volume (default 24)")
    parser.add_argument("--seed", type=int, default=5, help="random seed: the same seed, the same files (default 5)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    arguments = vars(parser.parse_args())
    try:
        volumes = make_phantom(**arguments)
    except (UserError, OSError) as error:
        parser.error(str(error))
    print(f"Wrote {counted(len(volumes), 'volume')} to {arguments['folder']}")


if __name__ == "__main__":
    main()
