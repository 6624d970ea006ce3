"""Tables of colours in the forms that published datasets have."""

import numpy as np
import pytest
from public_format_helpers import colour, refuse, run, save

from data_generators.reading.masks import read_mask
from data_preparation import index_masks
from data_preparation.common.colour_tables import colours_of, names_of_classes, read_table
from utils.base.errors import UserError

VOID, CAR = (0, 0, 0), (64, 0, 128)

READ = {
    "id,name,r,g,b\n0,Void,0,0,0\n1,Car,64,0,128\n": {VOID: 0, CAR: 1},
    "id;name;Red;Green;Blue\n2;Void;0;0;0\n0;Car;64;0;128\n": {VOID: 2, CAR: 0},  # the id is the class
    "name,r,g,b,class_id\nVoid,0,0,0,7\nCar,64,0,128,3\n": {VOID: 7, CAR: 3},
    "name\tr\tg\tb\nmy Void\t0\t0\t0\nCar 3\t64\t0\t128\n": {VOID: 0, CAR: 1},
    "r g b name\n0 0 0 Void thing\n64 0 128 Car\n": {VOID: 0, CAR: 1},
    "b,g,r\n0,0,0\n128,0,64\n": {VOID: 0, CAR: 1},
    "name,r,g,b,a\nVoid,0,0,0,255\nCar,64,0,128,255\n": {VOID: 0, CAR: 1},
    'name,rgb\nVoid,"0, 0, 0"\nCar,"(64,0,128)"\n': {VOID: 0, CAR: 1},
    "name,hex\nVoid,#000000\nCar,#400080\n": {VOID: 0, CAR: 1},
    "Void #000000\nCar #400080 # a comment\n": {VOID: 0, CAR: 1},
    "# label:color_rgb:parts:actions\nVoid:0,0,0::\nCar:64,0,128::\n": {VOID: 0, CAR: 1},
    "sep=;\nname;r;g;b\nVoid;0;0;0\nCar;64;0;128\n": {VOID: 0, CAR: 1},
    "Klasse,Rot,Gruen,Blau\nVoid,0,0,0\nCar,64,0,128\n": {VOID: 0, CAR: 1},
}
REFUSED = {
    "0 0 0 0 Void\n1 64 0 128 Car\n": "line 1: which of these",  # an id without headings
    "0,Void,0,0,0\n1,Car,64,0,128\n": "line 1: which of these",
    "0 0 0 255 Void\n": "line 1: which of these",  # or an alpha
    "1 2 3 a 4 5 6\n": "line 1: which of these",
    "0 0 0 a\nb 1 2 3\n": "line 2: the colour stands at another end",
    "0.5 0.1 0.2 a\n1 2 3 b\n": "line 1: which of these",  # was left out
    "r,g,b\n1,2,3\nA,B,C\n": "line 3: needs red, green and blue",
    "id,class,r,g,b\n0,1,0,0,0\n1,2,64,0,128\n": "id and class could both",
    "id,name,r,g,b\n0,Void,0,0,0\n0,Car,64,0,128\n": "line 3: the class 0 is listed twice",
    "id,name,r,g,b\n0,Void,0,0\n": "line 2: has 4 cells",
    "r,g,b,red\n1,2,3,4\n": "mean the same",
    "index,r,g,b\n-1,0,0,0\n0,1,1,1\n": "line 2: the column index has -1; classes are whole numbers",
    "id,r,g,b\n0,0,0,0\n1.0,1,1,1\n": "line 3: the column id has 1.0",
    "id,name,r,g,b\n,a,0,0,0\n1,b,1,1,1\n": "line 2: the column id has an empty cell",
    "name,h,s,v\na,0,0,0\nb,1,1,1\n": "the column h is none of red, green and blue",
    'name,bgr\na,"0,0,1"\n': "the column bgr is none of red",
}


@pytest.mark.parametrize("text", READ)
def test_forms(text, tmp_path):
    (tmp_path / "table.txt").write_text(text)
    assert colours_of(read_table(tmp_path / "table.txt")) == READ[text]
    (tmp_path / "table.txt").write_bytes(text.encode("utf-16"))
    assert colours_of(read_table(tmp_path / "table.txt")) == READ[text]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_certain_is_refused(text, tmp_path):
    (tmp_path / "table.txt").write_text(text)
    with pytest.raises(UserError, match=REFUSED[text]):
        read_table(tmp_path / "table.txt")


def test_a_table_that_is_not_utf_8(tmp_path):
    (tmp_path / "table.txt").write_bytes("name,r,g,b\nBär,1,2,3\n".encode("latin-1"))
    with pytest.raises(UserError, match="not text in UTF-8"):
        read_table(tmp_path / "table.txt")


@pytest.mark.parametrize("option", ["--colours", "--values"])
def test_masks_in_which_nothing_is_listed_are_refused(option, tmp_path, capsys):
    for name in "ab":
        save(tmp_path / f"i/{name}.png", colour())
        save(tmp_path / f"m/{name}.png", np.full((6, 8, 3) if option == "--colours" else (6, 8), 77, np.uint8))
    (tmp_path / "t.csv").write_text("id,name,r,g,b\n5,x,1,2,3\n")
    arguments = [tmp_path / "i", tmp_path / "m", tmp_path / "data", "--val", 0, "--ignore", 255, option]
    arguments += [tmp_path / "t.csv"] if option == "--colours" else [1, 2]
    assert "all pixels would be ignored" in refuse(index_masks, capsys, tmp_path / "data", *arguments)
    save(tmp_path / "m/b.png", np.full((6, 8, 3), (3, 2, 1), np.uint8))
    run(index_masks, capsys, *arguments) if option == "--colours" else None
    if option == "--colours":
        assert (read_mask(tmp_path / "data/train/mask/b.png") == 5).all()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id,name,r,g,b\n1,Car,64,0,128\n0,Sky,0,0,0\n255,Void,1,1,1\n", ["Sky", "Car"]),
        ("name\tr\tg\tb\nmy Sky\t0\t0\t0\nCar 3\t64\t0\t128\n", ["my Sky", "Car 3"]),
        ("0 0 0 Sky thing\n64 0 128 Car\n", ["Sky thing", "Car"]),
        ("# label:color_rgb:parts:actions\nSky:0,0,0::\nCar:64,0,128::\n", ["Sky", "Car"]),
        ("Sky #000000\nCar #400080\n", ["Sky", "Car"]),
        ("id,name,r,g,b\n1,Car,64,0,128\n2,Sky,0,0,0\n", None),  # no class 0
        ("id,name,r,g,b\n0,Car,64,0,128\n1,Car,0,0,0\n", None),
        ("0 0 0\n1 2 3\n", None),
        ("0 0 0 a\n1 2 3\n", None),
        ("0 0 0 ${oc.env:HOME}\n1 2 3 a\n", None),
    ],
)
def test_names_of_classes(tmp_path, text, names):
    (tmp_path / "table.txt").write_text(text)
    assert names_of_classes(read_table(tmp_path / "table.txt")) == names
