"""The stages of every model are its whole graph, and their boxes on the page keep clear of each other."""

import itertools

import pytest

from models import MODEL_TYPES, build_model
from models.__main__ import stage_rows
from models.diagram import HEIGHT, WIDTH, place
from models.sizes import combinations, measure, read_sizes
from models.stages import stages_of
from utils.base.terminal import make_table, render
from utils.config import load_config


def stages_and_model(*overrides):
    model = build_model(load_config(["MODEL.FILTERS=[4,6,8]", *overrides]), pretrained=False, size=(64, 64))
    return stages_of(model), model


SUPERVISED = ["MODEL.TYPE=unet++", "MODEL.DEEP_SUPERVISION=True", "MODEL.FILTERS=[4,4,4,4,4]"]
MODELS = [
    *([f"MODEL.TYPE={name}"] for name in MODEL_TYPES),
    SUPERVISED,
    ["MODEL.TYPE=unet++", "MODEL.BACKBONE.TYPE=mobilenetv2", "MODEL.CGM=True"],
    ["+experiment=pets_mobilenetv2"],
]


@pytest.mark.parametrize("overrides", MODELS, ids=" ".join)
def test_stages_hold_every_parameter_and_boxes_do_not_overlap(overrides):
    stages, model = stages_and_model(*overrides)
    assert sum(stage.parameters for stage in stages.values()) == model.count_params()
    assert {"image", *model.output} <= set(stages)
    assert all(source in stages for stage in stages.values() for source in stage.sources)
    assert all(stage.sources for name, stage in stages.items() if name != "image")
    for one, other in itertools.combinations(place(stages).values(), 2):
        assert abs(one.x - other.x) > WIDTH or abs(one.y - other.y) > HEIGHT
    lines = render(make_table(["stage", "size", "takes", "parameters"], stage_rows(stages)), 80).splitlines()
    assert max(map(len, lines)) <= 80


def test_full_scale_and_nested_skips():
    stages, _ = stages_and_model("MODEL.TYPE=unet3plus", "MODEL.FILTERS=[4,4,4,4,4]")
    assert set(stages["decoder4"].sources) == {"encoder1", "encoder2", "encoder4", "decoder8", "encoder16"}
    nested, _ = stages_and_model(*SUPERVISED)
    assert nested["decoder2_column2"].sources == ["decoder4_column1", "encoder2", "decoder2_column1"]
    assert nested["mask_depth1"].sources == ["decoder1_column1"]
    pretrained, _ = stages_and_model(
        "MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=mobilenetv2", "MODEL.BACKBONE.WEIGHTS=imagenet"
    )
    assert pretrained["encoder2"].shape == (32, 32, 96) and pretrained["encoder4"].sources == ["encoder2"]


def test_the_table_of_sizes_is_that_of_the_models():
    sizes = {(size.type, size.backbone): size for size in read_sizes()}
    assert list(sizes) == combinations(), "run python -m models.sizes"
    for name, backbone in [
        ("conv_deconv", "unet3plus"),
        ("tiny_unet3plus", "unet3plus"),
        ("classifier", "mobilenetv2"),
    ]:
        measured = measure([f"MODEL.TYPE={name}", f"MODEL.BACKBONE.TYPE={backbone}"])
        assert measured == sizes[name, backbone], "run python -m models.sizes"
