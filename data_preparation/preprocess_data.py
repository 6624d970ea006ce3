"""Prepare LiTS scans: NIfTI volumes become PNG slices that every loader reads.

    python data_preparation/preprocess_data.py "DATA_PREPARATION.SCANS_TRAIN_DATA_PATH='/data/Training Batch 2/'"

It writes `image_<volume>_<slice>.png` and `mask_<volume>_<slice>.png` to the folders of DATASET.TRAIN and DATASET.VAL.
The red, green and blue channel of an image are the slice below, the slice itself and the slice above. The pixel value
of a mask is the class. The folder `manifest` beside the images records the sources, the files and the spacing of each
volume; volumes whose sources and settings have not changed are skipped.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

from omegaconf import DictConfig

from data_generators.files.preparation import LITS_COMMAND
from data_preparation.scans.labelled_scans import find_labelled_scans
from data_preparation.scans.slices import LITS_CLASSES, SliceSettings
from data_preparation.scans.volume_writer import VolumeJob, prepare_volumes
from utils.base.errors import UserError
from utils.base.files import check_writable, is_list_file, resolve_path
from utils.base.wording import counted
from utils.config.command import command


def preprocess_data(cfg: DictConfig) -> dict[str, dict]:
    """Prepare the scans in DATA_PREPARATION.SCANS_TRAIN_DATA_PATH and SCANS_VAL_DATA_PATH.

    Returns:
        `{"train": {...}, "val": {...}}` with `written` and `skipped` (volumes), `slices` and `slices_with_liver` (of
        all volumes, also the skipped ones), `images` and `masks` (folders).

    Raises:
        UserError: names the folder or file that is missing or cannot be used. Volumes that are finished by then stay.

    Example:
        >>> import tempfile
        >>> from data_preparation.make_phantom import make_phantom
        >>> from utils.config import load_config
        >>> folder = tempfile.mkdtemp()
        >>> scans = make_phantom(f"{folder}/data", volumes_train=1, volumes_val=1, size=32, slices=8)
        >>> preprocess_data(load_config([f"WORK_DIR={folder}", "VERBOSE=0"]))["train"]["slices"]
        8
    """
    jobs = plan_jobs(cfg, "train") + plan_jobs(cfg, "val")
    return prepare_volumes(jobs, cfg.DATA_PREPARATION.WORKERS, cfg.VERBOSE == 0)


def plan_jobs(cfg: DictConfig, split: str) -> list[VolumeJob]:
    """One job per volume of a split, in the order of their numbers."""
    paths = cfg.DATASET[split.upper()]
    if cfg.DATA_PREPARATION.CHANNELS is not None:
        raise UserError(
            f"DATA_PREPARATION.CHANNELS={cfg.DATA_PREPARATION.CHANNELS}: LiTS has one image a scan; scans of several "
            "sequences are prepared by volumes.py --channels."
        )
    if cfg.DATA_PREPARATION.RESIZED_HEIGHT is None or cfg.DATA_PREPARATION.RESIZED_WIDTH is None:
        raise UserError("DATA_PREPARATION.RESIZED_HEIGHT and RESIZED_WIDTH must be set: the size of the slices.")
    for name in ("IMAGES_PATH", "MASK_PATH"):
        if not isinstance(paths[name], str) or is_list_file(paths[name]):
            raise UserError(
                f"DATASET.{split.upper()}.{name}={paths[name]} must be one folder: slices are written to it."
            )
        check_writable(cfg, paths[name], f"DATASET.{split.upper()}.{name}")
    scans = find_labelled_scans(cfg, f"SCANS_{split.upper()}_DATA_PATH")
    images, masks = resolve_path(cfg, paths.IMAGES_PATH), resolve_path(cfg, paths.MASK_PATH)
    settings = SliceSettings.from_config(cfg)
    names = LITS_CLASSES.get(settings.labels)
    return [VolumeJob(split, scan, images, masks, settings, LITS_COMMAND, names) for scan in scans]


@command
def main(cfg: DictConfig) -> None:
    """Prepare the scans of the config and print what was written."""
    start = time.perf_counter()
    for split, done in preprocess_data(cfg).items():
        print(
            f"{split}: {counted(done['written'], 'volume')} written, {done['skipped']} unchanged and skipped; "
            f"{counted(done['slices'], 'slice')}, {done['slices_with_liver']} with liver, "
            f"in {done['images']} and {done['masks']}"
        )
    print(f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
