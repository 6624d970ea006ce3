"""PREPROCESS_DATA.SCOPE=volume: z-score and percentiles of whole volumes, the same in every loader and of the scan."""

import json

import numpy as np
import pytest
from helpers import make_weights, needs_dali
from scan_helpers import SHAPE, labels, make_decathlon, nifti
from volume_scope_helpers import expected_by_numpy

from data_generators import build_dataset
from data_generators.reading.decoding import read_image
from data_generators.reading.samples import ReadSettings, read_image_as
from data_preparation import volumes
from data_preparation.tfrecord import write_shards
from data_preparation.verify_data import find_training_files, verify_data
from export import export
from models import build_model
from models.layers.intensities import PreprocessImage
from utils.base.errors import UserError
from utils.checkpoints import restore_config
from utils.config import load_config
from utils.export.interface import describe_interface
from utils.inference.sources import SourceSettings, VolumeSource

HEIGHT, WIDTH, SLICES = SHAPE[1], SHAPE[0], SHAPE[2]
SIZE = [f"INPUT.HEIGHT={HEIGHT}", f"INPUT.WIDTH={WIDTH}", "VERBOSE=0", "OUTPUT.CLASSES=4", "loss=cce_dice"]
GROUP = "PREPROCESS_DATA"
ZSCORE = [f"{GROUP}.IMAGE_PREPROCESSING_TYPE=zscore", f"{GROUP}.SCOPE=volume"]
PERCENTILE = [f"{GROUP}.IMAGE_PREPROCESSING_TYPE=percentile", f"{GROUP}.SCOPE=volume"]
FOREGROUND = f"{GROUP}.FOREGROUND=True"


@pytest.fixture(params=[8, 16])
def data(tmp_path, request):
    """Two volumes without a unit, black at the left, of one bright slice; returns the name of that for validation."""
    rng = np.random.default_rng(4)
    for name in ("anna", "bert"):
        scan = rng.gamma(2, 120, SHAPE).astype(np.float32)
        scan[..., 2] *= 3
        scan[:3] = 0
        nifti(tmp_path / "scans" / name / "t1.nii.gz", scan)
        nifti(tmp_path / "scans" / name / "seg.nii.gz", labels())
    prepare(tmp_path, "--volumes", "*/t1.nii.gz", "--segmentations", "*/seg.nii.gz", "--depth", request.param)
    return next((tmp_path / "data/val/images").iterdir()).name.split("_")[1]


def prepare(folder, *arguments):
    options = ["--workers", "1", "--quiet", "--val", "0.5"]
    volumes.main([str(folder / "scans"), str(folder / "data"), *options, *map(str, arguments)])


def config(folder, *overrides):
    return find_training_files(load_config([f"WORK_DIR={folder}", *SIZE, *overrides]))[0]


def stored_volume(folder, name):
    """`(slices, height, width)`: the slices themselves, as stored."""
    files = [folder / f"data/val/images/image_{name}_{index}.png" for index in range(SLICES)]
    return np.stack([read_image(file, 3)[..., 1] for file in files]).astype(float)


@pytest.mark.parametrize("foreground", [[], [FOREGROUND]])
@pytest.mark.parametrize("kind", [ZSCORE, PERCENTILE, [*PERCENTILE, f"{GROUP}.PERCENTILES=[10,77.7]"]])
def test_the_network_sees_values_of_the_volume(tmp_path, data, kind, foreground):
    cfg = config(tmp_path, *kind, *foreground, "DATA_GENERATOR_TYPE=TF_GENERATOR")
    loaded = np.concatenate([np.asarray(image) for image, _ in build_dataset(cfg, "val", batch_size=2)])
    group = cfg.PREPROCESS_DATA
    settings = {"FOREGROUND": group.FOREGROUND, "PERCENTILES": list(group.PERCENTILES), "SCOPE": "volume"}
    seen = np.asarray(PreprocessImage(group.IMAGE_PREPROCESSING_TYPE, settings)(loaded))
    expected = expected_by_numpy(stored_volume(tmp_path, data), cfg)
    np.testing.assert_allclose(seen[..., 1], expected, atol=1.5e-4)
    np.testing.assert_allclose(seen[1:, ..., 0], expected[:-1], atol=1.5e-4, err_msg="its neighbours are scaled alike")


def test_other_percentiles_lie_between_the_neighbouring_tenths(tmp_path, data):
    cfg = config(tmp_path, *PERCENTILE, f"{GROUP}.PERCENTILES=[0.5,93.456]")
    scale = ReadSettings.from_config(cfg).volume_scale
    manifest = json.loads((tmp_path / f"data/val/manifest/volume-{data}.json").read_text())
    volume = stored_volume(tmp_path, data)
    low, high, _ = scale.ends(manifest["intensities"][0])
    assert low == pytest.approx(np.percentile(volume, 0.5), rel=1e-6)
    assert np.percentile(volume, 93.4) <= high <= np.percentile(volume, 93.5)


@pytest.mark.parametrize("name", ["TF_DATA", "TFRECORD", pytest.param("DALI_GENERATOR", marks=needs_dali)])
def test_all_loaders_give_the_same(tmp_path, data, name):
    options = [*ZSCORE, FOREGROUND, "HYPER_PARAMETERS.BATCH_SIZE=4"]
    ((expected, _),) = build_dataset(config(tmp_path, *options, "DATA_GENERATOR_TYPE=TF_GENERATOR"), "val")
    if name == "TFRECORD":
        write_shards(tmp_path / "data/val/images", tmp_path / "data/val/mask", tmp_path / "shards", "val", 1)
        options += ["DATASET.VAL.IMAGES_PATH=shards/val-*.tfrec"]
    ((found, _),) = build_dataset(config(tmp_path, *options, f"DATA_GENERATOR_TYPE={name}"), "val")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("kind", [ZSCORE, [*ZSCORE, FOREGROUND], [*PERCENTILE, "INPUT.CHANNELS=1"]])
def test_a_scan_is_measured_as_its_prepared_slices_were(tmp_path, data, kind):
    cfg = config(tmp_path, *kind)
    source = VolumeSource(tmp_path / "scans" / data / "t1.nii.gz")
    source.open(SourceSettings.from_config(cfg))
    for index in range(SLICES):
        path = tmp_path / f"data/val/images/image_{data}_{index}.png"
        np.testing.assert_array_equal(source.read(index)[0], read_image_as(path, ReadSettings.from_config(cfg)))


def test_what_is_prepared_has_no_other_range(tmp_path, data):
    cfg = config(tmp_path, *ZSCORE, f"{GROUP}.VALUE_RANGE=[0,9]")
    with pytest.raises(UserError, match=r"leave PREPROCESS_DATA.VALUE_RANGE=\[0.0, 9.0\] out"):
        verify_data(cfg)
    with pytest.raises(UserError, match=r"t1.nii.gz: .* leave PREPROCESS_DATA.VALUE_RANGE"):
        VolumeSource(tmp_path / "scans" / data / "t1.nii.gz").open(SourceSettings.from_config(cfg))


def test_each_sequence_has_its_own_statistics(tmp_path):
    make_decathlon(tmp_path / "scans", modality="FLAIR", count=2, four_axes=True)
    prepare(tmp_path, "--channels", "--depth", 16, "--size", 8, 9)
    size = ["INPUT.HEIGHT=8", "INPUT.WIDTH=9", "DATASET.BANDS=[2,1]", "DATASET.SLICES_AROUND=1", "INPUT.CHANNELS=6"]
    cfg = config(tmp_path, *ZSCORE, *size)
    (image, _), *_ = build_dataset(cfg, "val", batch_size=SLICES)
    scaled = PreprocessImage("zscore", {"SCOPE": "volume"})(image)[..., 2:4]
    scaled = np.asarray(scaled)
    assert np.abs(scaled[..., 1]).max() == 0, "the second band of the slice itself, of one value"
    assert scaled[..., 0].mean() == pytest.approx(0, abs=1e-4) and scaled[..., 0].std() == pytest.approx(1, abs=1e-4)
    name = next((tmp_path / "data/val/images").iterdir()).name[len("image_") :].rsplit("_", 1)[0]
    source = VolumeSource(tmp_path / f"scans/imagesTr/{name}.nii.gz")
    source.open(SourceSettings.from_config(cfg))
    found = np.stack([source.read(index)[0] for index in range(SLICES)])
    np.testing.assert_array_equal(found / np.float32(65535), np.asarray(image))


def test_volumes_prepared_by_an_earlier_version(tmp_path, data):
    path = tmp_path / f"data/val/manifest/volume-{data}.json"
    whole = json.loads(path.read_text())
    damaged = json.loads(json.dumps(whole))
    damaged["intensities"][0]["all"]["mean"] = 1e9
    older = {key: value for key, value in whole.items() if key != "intensities"}
    for manifest in (damaged, older):
        path.write_text(json.dumps(manifest))
        with pytest.raises(UserError, match=r"volume-\w+.json does not hold. Prepare the scans again"):
            verify_data(config(tmp_path, *ZSCORE))
    verify_data(config(tmp_path))
    depth = whole["settings"].get("depth", 8)
    prepare(tmp_path, "--volumes", "*/t1.nii.gz", "--segmentations", "*/seg.nii.gz", "--depth", depth)
    assert json.loads(path.read_text()) == whole
    found = verify_data(config(tmp_path, *ZSCORE))
    assert found["val"]["pairs"] == SLICES


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([f"{GROUP}.SCOPE=volume"], "SCOPE=volume: leave it out, or choose percentile or zscore"),
        ([ZSCORE[0], "DATASET.CROP.MODE=random"], "SCOPE=volume"),
    ],
)
def test_settings_that_contradict(overrides, words):
    with pytest.raises(UserError, match=words):
        load_config(overrides)


def test_volumes_may_be_cropped_and_the_network_only_changes_the_unit():
    small = ["MODEL.TYPE=conv_deconv", "MODEL.FILTERS=[4,6,8]", "DATASET.CROP.MODE=random"]
    layer = build_model(load_config([*small, *ZSCORE]), size=(16, 16)).layers[1]
    image = np.float32([[[[0], [1 / 3], [1]]]])
    np.testing.assert_allclose(np.asarray(layer(image)).ravel(), [-4, 0, 8], atol=1e-6)


def test_an_exported_file_cannot_know_the_volume(tmp_path):
    command = [f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet"]
    make_weights(tmp_path, ["MODEL.TYPE=unet", "MODEL.FILTERS=[2,4]", *SIZE, *ZSCORE, FOREGROUND])
    with pytest.raises(UserError, match=r"EXPORT.PREPROCESS=True takes one image.*statistics of its volume"):
        export(load_config([*command, "EXPORT.PREPROCESS=True"]))
    words = describe_interface(restore_config(load_config(command)), "unet")["image preprocessing"]
    assert "all voxels above 0 of its volume" in words and "-4 and 8 standard deviations" in words
