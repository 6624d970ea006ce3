"""Every file of configs/experiment composes, builds its model and trains a step."""

import json

import cv2
import keras
import nibabel
import numpy as np
import pytest
from helpers import PROJECT, assert_one_clear_error, run_command
from omegaconf import OmegaConf
from PIL import Image

from data_generators import build_dataset
from data_preparation import coco, drive, index_masks, lgg, nuclei, pets, volumes
from data_preparation import split as split_command
from data_preparation.preprocess_data import preprocess_data
from data_preparation.verify_data import verify_data
from losses.monitor import build_monitor
from losses.supervision import build_output_metrics, build_training_loss
from models import build_model
from utils.base.errors import UserError
from utils.checkpoints import restore_config, weights_path
from utils.config import load_config
from utils.config.defaults import CONFIGS
from utils.training.optimizers import make_optimizer
from utils.training.schedules import learning_rate
from utils.training.trainer import Trainer

FILES = sorted((CONFIGS / "experiment").glob("*.yaml"))
EXPERIMENTS = [path.stem for path in FILES if "# Planned by" not in path.read_text()]  # users' own are no systems
SIZE = 64


RNG = np.random.default_rng(0)


def picture(path, classes, values=None, size=(SIZE, SIZE)):
    """Save a picture of squares; returns its classes `(height, width)`, all of them in it."""
    mask = RNG.integers(0, classes, (size[0] // 8, size[1] // 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    mask[:classes, 0] = range(classes)
    image = np.dstack([mask] * 3) * (100 // classes) + RNG.integers(0, 50, (*size, 3), dtype=np.uint8)
    save(path, image)
    return mask


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def publish_lgg(source, data):
    for patient in ("TCGA_CS_4941_19960909", "TCGA_DU_5849_19950405"):
        for number in range(1, 5):
            name = source / patient / f"{patient}_{number}"
            save(name.with_name(f"{name.name}_mask.tif"), picture(name.with_suffix(".tif"), 2) * 255)
    lgg.main([str(source), str(data / "lgg"), "--val", "0.5", "--quiet"])


def publish_pets(source, data):
    """The share for validation is the preparation's; 5 listed images leave 4 for training."""
    names = [f"Abyssinian_{number}" for number in range(1, 6)] + ["pug_1"]
    for name in names:
        save(source / f"annotations/trimaps/{name}.png", picture(source / f"images/{name}.jpg", 3) + 1)
    lines = [f"{name} 1 1 1\n" for name in names]
    (source / "annotations/trainval.txt").write_text("".join(lines[:5]))
    (source / "annotations/test.txt").write_text("".join(lines[5:]))
    pets.main([str(source), str(data / "pets"), "--quiet"])


def publish_mapping(source, data):
    """Buildings as crowdAI's annotation.json lists them: one polygon each."""
    images, annotations = [], []
    for number in range(8):
        name = f"{number:012d}.jpg"
        picture(source / "images" / name, 2)
        images.append({"id": number, "file_name": name, "height": SIZE, "width": SIZE})
        polygon = [[8.0, 8.0, 40.0, 8.0, 40.0, 30.0 + number, 8.0, 30.0]]
        annotations.append(
            {"id": number, "image_id": number, "category_id": 100, "iscrowd": 0, "segmentation": polygon}
        )
    lists = {"images": images, "annotations": annotations, "categories": [{"id": 100, "name": "building"}]}
    (source / "annotation.json").write_text(json.dumps(lists))
    options = ["--val", "0.21", "--test", "0.30", "--seed", "108241", "--quiet"]
    coco.main([str(source / "annotation.json"), str(source / "images"), str(data / "mapping"), *options])


def publish_lits(source, data):
    """One volume of 4 slices on each side, as int16 HU, labels 0, 1 and 2; as preprocess_data.py finds them."""
    for batch, number in (("Training Batch 2", 28), ("Training Batch 1", 0)):
        labels = RNG.integers(0, 3, (SIZE // 8, SIZE // 8, 4)).repeat(8, 0).repeat(8, 1)
        scan = labels * 60 + RNG.integers(-50, 50, labels.shape)
        (data / batch).mkdir(parents=True)
        for kind, voxels in (("volume", scan), ("segmentation", labels)):
            nibabel.save(nibabel.Nifti1Image(voxels.astype(np.int16), np.eye(4)), data / batch / f"{kind}-{number}.nii")
    options = [f"WORK_DIR={data.parent}", "DATA_PREPARATION.WORKERS=1", "VERBOSE=0"]
    preprocess_data(load_config(["+experiment=lits_unet3plus", *SMALL, *options]))


def publish_camvid(source, data):
    for split in ("train", "val", "test"):
        for number in range(4):
            mask = picture(source / split / f"0001TP_{number:06d}.png", 12)  # 11 is void
            save(source / f"{split}annot" / f"0001TP_{number:06d}.png", mask)
    index_masks.main([f"{source}/{{split}}", f"{source}/{{split}}annot", str(data / "camvid"), "--quiet"])


def publish_drive(source, data):
    """6 images leave 4 for training."""
    for number in range(21, 27):
        vessels = picture(source / f"images/{number}_training.tif", 2) * 255
        for name, mask in (("1st_manual/{}_manual1", vessels), ("mask/{}_training_mask", vessels | 255)):
            path = source / f"{name.format(number)}.gif"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
    drive.main([str(source), str(data / "drive"), "--val", "0.25", "--quiet"])


def publish_nuclei(source, data):
    for number in range(5):
        mask = picture(source / f"{number}/images/{number}.png", 2) * 255
        save(source / f"{number}/masks/0.png", mask)
    nuclei.main([str(source), str(data / "nuclei"), "--border", "1", "--val", "0.2", "--quiet"])


def publish_hippocampus(source, data):
    """Five volumes of one slice: each of the five folds trains on four."""
    affine, cases = np.diag([1.0, 1, 1, 1]), []
    for number in range(5):
        labels = RNG.integers(0, 3, (5, 6, 1)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        case = {"image": f"./imagesTr/h_{number}.nii.gz", "label": f"./labelsTr/h_{number}.nii.gz"}
        for name, voxels in zip(case.values(), (labels * 80.0 + RNG.random(labels.shape), labels), strict=True):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, affine), source / name)
        cases.append(case)
    names = {"0": "background", "1": "Anterior", "2": "Posterior"}
    about = {"modality": {"0": "MRI"}, "labels": names, "training": cases}
    (source / "dataset.json").write_text(json.dumps(about))
    size = ["--size", str(SIZE), str(SIZE), "--crop", "--val", "0", "--quiet"]
    volumes.main([str(source), str(data / "hippocampus"), *size])
    pairs = [str(data / "hippocampus/train" / kind) for kind in ("images", "mask")]
    split_command.main([*pairs, str(data / "hippocampus/folds"), "--folds", "5"])


def publish_folders(name):
    def publish(source, data):
        """Masks of 0 and 255 beside the images: the form that needs no preparation."""
        for split in ("train", "val"):
            for number in range(4):
                mask = picture(data / name / split / f"images/{number}.png", 2) * 255
                save(data / name / split / f"mask/{number}.png", mask)

    return publish


# By what an experiment's name begins with: writes tiny data as it is published, and prepares it as the header says.
PUBLISHED = {
    "drive": publish_drive,
    "nuclei": publish_nuclei,
    "lgg": publish_lgg,
    "pets": publish_pets,
    "mapping": publish_mapping,
    "lits": publish_lits,
    "camvid": publish_camvid,
    "hippocampus": publish_hippocampus,
    "isbi": publish_folders("isbi"),
    "tpu": publish_folders("tpu"),
}


def narrow(cfg):
    """A sixteenth of the filters of our own layers: their numbers are pinned in models/test_model_family.py."""
    for group in (cfg.MODEL, cfg.MODEL.DECODER):
        if group.FILTERS:
            group.FILTERS = [max(filters // 16, 2) for filters in group.FILTERS]
    return cfg


SMALL = [f"INPUT.HEIGHT={SIZE}", f"INPUT.WIDTH={SIZE}"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_a_step(name, tmp_path):
    PUBLISHED[name.split("_")[0]](tmp_path / "published", tmp_path / "data")
    options = ["DATASET.FOLD=0"] if (tmp_path / "data" / name.split("_")[0] / "folds").is_dir() else []
    options += [f"WORK_DIR={tmp_path}", "VERBOSE=0", "HYPER_PARAMETERS.BATCH_SIZE=2", "DATALOADER_WORKERS=1"]
    cfg = narrow(load_config([f"+experiment={name}", *SMALL, *options]))
    assert verify_data(cfg)["train"]["pairs"] == 4
    network = build_model(cfg, pretrained=False)
    trainer = Trainer(network, build_training_loss(cfg), build_output_metrics(cfg, network.output))
    trainer.compile(optimizer=make_optimizer(cfg), run_eagerly=True)  # tracing takes longer than a step
    before = [np.array(weight) for weight in network.trainable_variables]
    dataset = build_dataset(cfg, "train")
    assert len(dataset) == 2
    batch, _ = dataset
    assert np.isfinite(float(trainer.train_on(batch)["loss"]))
    after = [np.array(weight) for weight in network.trainable_variables]
    assert any(not np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert all(np.isfinite(weight).all() for weight in after)
    keras.backend.clear_session()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_header_says_how_and_how_well(name):
    text = (CONFIGS / "experiment" / f"{name}.yaml").read_text()
    assert text.startswith("# @package _global_\n")
    for word in (f"python train.py +experiment={name}", "prepare", "published", "measured", "augmentation:"):
        assert word in text.replace("Augmentation:", "augmentation:")
    assert load_config([f"+experiment={name}"]).MODEL.WEIGHTS_FILE_NAME.startswith(name.split("_")[0])
    assert f"`{name}`" in (PROJECT / "docs/results/experiments.md").read_text()


def test_experiments_keep_their_weights_apart():
    names = [load_config([f"+experiment={name}"]).MODEL.WEIGHTS_FILE_NAME for name in EXPERIMENTS]
    assert len(names) >= 9
    assert len(set(names)) == len(names)


def test_an_experiment_builds_on_another_and_on_the_command_line():
    cfg = load_config(["+experiment=tpu_unetpp", "HYPER_PARAMETERS.EPOCHS=7", "loss=dice"])
    assert (cfg.MODEL.TYPE, cfg.MODEL.DECODER.UPSAMPLE_KERNEL, cfg.HYPER_PARAMETERS.EPOCHS) == ("unet++", 4, 7)
    assert dict(cfg.LOSS) == {"dice": 1.0}
    assert dict(load_config(["+experiment=tpu_unetpp"]).LOSS) == {"bce_dice": 1.0}


KERAS = {"MODEL.DECODER.NORM_MOMENTUM": 0.99, "MODEL.DECODER.NORM_EPSILON": 1e-3, "OPTIMIZER.EPSILON": 1e-7}
PIX2PIX = {"MODEL.INITIALIZER": "normal", "MODEL.HEAD.INITIALIZER": "glorot_uniform", "MODEL.L2": 0, **KERAS}
KIT = {"MODEL.INITIALIZER": "glorot_uniform", "MODEL.L2": 0, **KERAS}


@pytest.mark.parametrize(
    "name, settings",
    [
        ("lits_unet3plus", {"MODEL.INITIALIZER": "he_normal", "MODEL.L2": 1e-4, **KERAS}),
        ("tpu_unet", KIT),
        ("tpu_unetpp", KIT),
        ("pets_conv_deconv", {"MODEL.INITIALIZER": "glorot_uniform", "MODEL.L2": 0, "OPTIMIZER.EPSILON": 1e-7}),
        ("pets_mobilenetv2", PIX2PIX),
        ("mapping_efficientnetb4", PIX2PIX),
    ],
)
def test_first_weights_and_normalisation_of_the_sources(name, settings):
    cfg = load_config([f"+experiment={name}"])
    assert {key: OmegaConf.select(cfg, key) for key in settings} == settings
    assert cfg.OPTIMIZER.L2 == 0


def test_the_brain_network_is_as_pytorch_makes_and_trains_it():
    cfg = load_config(["+experiment=lgg_unet", *SMALL])
    model = build_model(cfg)
    assert not model.losses
    assert {(layer.momentum, layer.epsilon) for layer in model.layers if hasattr(layer, "moving_mean")} == {(0.9, 1e-5)}
    first = model.get_layer("encoder1_1_conv")
    assert 0.9 / 27**0.5 < np.abs(first.kernel).max() <= 1 / 27**0.5  # He's are larger than that for most
    optimizer = make_optimizer(cfg)
    assert optimizer.epsilon == 1e-8
    # Adam's first step of weight decay alone, whose gradients are so small that the epsilon counts.
    weight, start = keras.Variable([2.0, -1.0]), np.array([2.0, -1.0])
    optimizer.apply([keras.ops.zeros(2)], [weight])
    root = 0.001**0.5 * 1e-5 * np.abs(start)
    np.testing.assert_allclose(start - np.asarray(weight), np.sign(start) * 3e-3 * root / (root + 1e-8), rtol=1e-3)


def test_the_schedules_of_the_sources():
    kit = load_config(["+experiment=tpu_unet"])
    rates = [learning_rate(kit, epoch) for epoch in (0, 3, 7, 8)]
    np.testing.assert_allclose(rates, [3e-4, 3e-4, 3e-4, 1e-6 + (3e-4 - 1e-6) * 0.8])
    mapping = load_config(["+experiment=mapping_efficientnetb4"])
    # Keras's CosineDecayRestarts(0.005, 50, t_mul=1, m_mul=0.7, alpha=0.1) at steps 0, 25 and 50, of 65 in an epoch.
    rates = [learning_rate(mapping, 0, step, 65) for step in (0, 25, 50)]
    np.testing.assert_allclose(rates, [0.005, 0.9 * 0.0025 + 0.0005, 0.9 * 0.7 * 0.005 + 0.0005])


@pytest.mark.parametrize(
    "name, weights, stopping",
    [
        ("mapping_efficientnetb4", "loss", "loss"),
        ("pets_conv_deconv", "loss", "loss"),
        ("pets_mobilenetv2", "loss", "loss"),
        ("tpu_unet", "loss", "loss"),
        ("tpu_unetpp", "loss", "loss"),
        ("lgg_unet", "iou", "iou"),
        ("lits_unet3plus", "dice", "loss"),
    ],
)
def test_the_scores_that_the_sources_watch(name, weights, stopping):
    cfg = load_config([f"+experiment={name}"])
    assert (build_monitor(cfg).name, build_monitor(cfg, "EARLY_STOPPING").name) == (weights, stopping)


@pytest.fixture
def other_experiments(tmp_path, monkeypatch):
    """A copy of the configs to which a test adds experiments."""
    import shutil

    shutil.copytree(CONFIGS, tmp_path / "configs")
    monkeypatch.setattr("utils.config.defaults.CONFIGS", tmp_path / "configs")
    monkeypatch.setattr("utils.config.load.CONFIGS", tmp_path / "configs")
    return tmp_path / "configs" / "experiment"


@pytest.mark.parametrize(
    "text, words",
    [
        ("MODEL:\n  TYP: unet", ["MODEL.TYP", "MODEL.TYPE"]),
        ("HYPER_PARAMETERS:\n  EPOCHS: many", ["HYPER_PARAMETERS.EPOCHS"]),
        ("AUGMENTATION: strong", ["AUGMENTATION"]),
        ("defaults:\n  - override /loss: nothing", ["loss=nothing", "Choices: bce_dice"]),
        ("MODEL: [", ["mine.yaml, line 3: is not YAML"]),
    ],
)
def test_an_experiment_is_checked_like_the_command_line(text, words, other_experiments):
    (other_experiments / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    with pytest.raises(UserError) as error:
        load_config(["+experiment=mine"])
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("override, words", [("+experiment=isbi", ["isbi_unet"]), ("experiment=isbi_unet", ["plus"])])
def test_a_mistyped_experiment(override, words):
    assert_one_clear_error(run_command("train.py", override), *words)


def test_evaluation_finds_the_weights_of_an_experiment(tmp_path):
    cfg = load_config(["+experiment=isbi_unet", f"WORK_DIR={tmp_path}", "INPUT.HEIGHT=64", "INPUT.WIDTH=64"])
    weights = weights_path(cfg)
    weights.parent.mkdir()
    weights.touch()
    OmegaConf.save(cfg, weights.parent / "isbi_unet.yaml", resolve=True)
    restored = restore_config(load_config(["+experiment=isbi_unet", f"WORK_DIR={tmp_path}"]))
    assert (restored.INPUT.HEIGHT, restored.OUTPUT.CLASSES) == (64, 2)
