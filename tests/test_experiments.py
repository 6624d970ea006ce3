"""Every file of configs/experiment composes, builds its model and trains two steps."""

import cv2
import keras
import numpy as np
import pytest
from conftest import PROJECT, assert_one_clear_error, run_command

from data_generators import build_dataset
from data_preparation.verify_data import verify_data
from losses.supervision import build_output_metrics, build_training_loss
from models import build_model
from utils.checkpoints import restore_config, weights_path
from utils.config import CONFIGS, load_config
from utils.errors import UserError
from utils.optimizers import make_optimizer
from utils.schedules import learning_rate
from utils.trainer import Trainer

FILES = sorted((CONFIGS / "experiment").glob("*.yaml"))
EXPERIMENTS = [path.stem for path in FILES if "# Planned by" not in path.read_text()]  # users' own are no systems
SIZE = 64


def write_data(folder, cfg):
    """Four pictures for each split where the experiment looks for them, all its classes in each mask."""
    values = cfg.DATASET.LABEL_VALUES or range(max(cfg.OUTPUT.CLASSES, 2))
    generator = np.random.default_rng(0)
    for split in ("TRAIN", "VAL"):
        paths = cfg.DATASET[split]
        for kind in (paths.IMAGES_PATH, paths.MASK_PATH):
            (folder / kind.lstrip("/")).mkdir(parents=True)
        for number in range(4):
            mask = generator.choice(list(values), (SIZE // 8, SIZE // 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
            mask[: len(values), 0] = values
            image = np.dstack([mask] * 3) // 2 + generator.integers(0, 50, (SIZE, SIZE, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / paths.IMAGES_PATH.lstrip("/") / f"{number}.png"), image)
            cv2.imwrite(str(folder / paths.MASK_PATH.lstrip("/") / f"{number}.png"), mask)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_two_steps(name, tmp_path):
    cfg = load_config(
        [f"+experiment={name}", f"WORK_DIR={tmp_path}", "VERBOSE=0", f"INPUT.HEIGHT={SIZE}", f"INPUT.WIDTH={SIZE}",
         "HYPER_PARAMETERS.BATCH_SIZE=2", "DATALOADER_WORKERS=1"]
    )  # fmt: skip
    write_data(tmp_path, cfg)
    assert verify_data(cfg)["train"]["pairs"] == 4
    network = build_model(cfg, pretrained=False)
    trainer = Trainer(network, build_training_loss(cfg), build_output_metrics(cfg, network.output))
    trainer.compile(optimizer=make_optimizer(cfg), run_eagerly=True)  # tracing takes longer than two steps
    before = [np.array(weight) for weight in network.trainable_variables]
    dataset = build_dataset(cfg, "train")
    assert len(dataset) == 2
    for batch in (dataset[0], dataset[1]):
        logs = trainer.train_on(batch)
        assert np.isfinite(float(logs["loss"]))
    after = [np.array(weight) for weight in network.trainable_variables]
    assert any(not np.array_equal(*pair) for pair in zip(before, after, strict=True))
    keras.backend.clear_session()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_header_says_how_and_how_well(name):
    text = (CONFIGS / "experiment" / f"{name}.yaml").read_text()
    assert text.startswith("# @package _global_\n")
    for word in (f"python train.py +experiment={name}", "prepare", "published", "measured", "augmentation:"):
        assert word in text.replace("Augmentation:", "augmentation:")
    assert load_config([f"+experiment={name}"]).MODEL.WEIGHTS_FILE_NAME.startswith(name.split("_")[0])
    assert f"`{name}`" in (PROJECT / "README.md").read_text()


def test_experiments_keep_their_weights_apart():
    names = [load_config([f"+experiment={name}"]).MODEL.WEIGHTS_FILE_NAME for name in EXPERIMENTS]
    assert len(names) >= 9
    assert len(set(names)) == len(names)


def test_an_experiment_builds_on_another_and_on_the_command_line():
    cfg = load_config(["+experiment=tpu_unetpp", "HYPER_PARAMETERS.EPOCHS=7", "loss=dice"])
    assert (cfg.MODEL.TYPE, cfg.MODEL.DECODER.UPSAMPLE_KERNEL, cfg.HYPER_PARAMETERS.EPOCHS) == ("unet++", 4, 7)
    assert dict(cfg.LOSS) == {"dice": 1.0}
    assert dict(load_config(["+experiment=tpu_unetpp"]).LOSS) == {"bce_dice": 1.0}


def test_the_schedules_of_the_sources():
    kit = load_config(["+experiment=tpu_unet"])
    rates = [learning_rate(kit, epoch) for epoch in (0, 3, 7, 8)]
    np.testing.assert_allclose(rates, [3e-4, 3e-4, 3e-4, 1e-6 + (3e-4 - 1e-6) * 0.8])
    mapping = load_config(["+experiment=mapping_efficientnetb4"])
    # Keras's CosineDecayRestarts(0.005, 50, t_mul=1, m_mul=0.7, alpha=0.1) at steps 0, 25 and 50.
    rates = [learning_rate(mapping, epoch) for epoch in (0, 25, 50)]
    np.testing.assert_allclose(rates, [0.005, 0.9 * 0.0025 + 0.0005, 0.9 * 0.7 * 0.005 + 0.0005])


@pytest.fixture
def other_experiments(tmp_path, monkeypatch):
    """A copy of the configs to which a test adds experiments."""
    import shutil

    shutil.copytree(CONFIGS, tmp_path / "configs")
    monkeypatch.setattr("utils.config.CONFIGS", tmp_path / "configs")
    return tmp_path / "configs" / "experiment"


@pytest.mark.parametrize(
    "text, words",
    [
        ("MODEL:\n  TYP: unet", ["MODEL.TYP", "MODEL.TYPE"]),
        ("HYPER_PARAMETERS:\n  EPOCHS: many", ["HYPER_PARAMETERS.EPOCHS"]),
        ("AUGMENTATION: strong", ["AUGMENTATION"]),
        ("defaults:\n  - override /loss: nothing", ["loss/nothing"]),
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
    from omegaconf import OmegaConf

    cfg = load_config(["+experiment=isbi_unet", f"WORK_DIR={tmp_path}", "INPUT.HEIGHT=64", "INPUT.WIDTH=64"])
    weights = weights_path(cfg)
    weights.parent.mkdir()
    weights.touch()
    OmegaConf.save(cfg, weights.parent / "isbi_unet.yaml", resolve=True)
    restored = restore_config(load_config(["+experiment=isbi_unet", f"WORK_DIR={tmp_path}"]))
    assert (restored.INPUT.HEIGHT, restored.OUTPUT.CLASSES) == (64, 2)
