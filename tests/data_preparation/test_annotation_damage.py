"""Any value of an annotation file may be of another kind than its tool writes: that ends in one line or is left out."""

import copy
import json
from argparse import Namespace

import pytest
from annotation_form_helpers import HEIGHT, MAKERS, WIDTH

from data_preparation import annotations
from data_preparation.annotation_forms.drawing import draw_mask
from data_preparation.common.command_line import make_parser
from utils.base.errors import UserError

ODD = (None, 5, -1.5, True, "x", "", [], [[]], [None], {}, {"a": 1}, 10**400)


def places(content, path=()):
    """The keys that lead to every value of a JSON content, the first two of long lists."""
    yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from places(value, (*path, key))
    elif isinstance(content, list):
        for index, value in enumerate(content[:2]):
            yield from places(value, (*path, index))


def changed(content, path, value):
    found = copy.deepcopy(content)
    if not path:
        return value
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


@pytest.mark.parametrize("form", [name for name in MAKERS if name not in ("cvat", "voc", "yolo")])
def test_values_of_another_kind(form, tmp_path):
    MAKERS[form](tmp_path)
    (path,) = [path for path in tmp_path.rglob("*json") if path.name != "meta.json"]
    content = json.loads(path.read_text(encoding="utf-8"))
    parser = make_parser("", annotations.SOURCES, annotations.OPTIONS)
    options = parser.parse_args([str(tmp_path), "out", "--val", "0", "--quiet", "--form", form])
    read = refused = 0
    for number, place in enumerate(places(content)):
        for odd in ODD[number % 5 :: 5]:
            path.write_text(json.dumps(changed(content, place, odd)), encoding="utf-8")
            try:
                for pair in annotations.collect(Namespace(**vars(options)))[0].pairs:
                    assert draw_mask(pair, HEIGHT, WIDTH).shape == (HEIGHT, WIDTH)
                read += 1
            except UserError as error:
                assert "\n" not in str(error)
                refused += 1
    assert read and refused
