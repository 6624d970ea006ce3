"""Text, JSON and CSV of others: encodings, separators, damage."""

import pytest

from utils.base.errors import UserError
from utils.base.files import read_list
from utils.base.listing import list_folder
from utils.base.text_files import read_csv, read_json, read_text, spreadsheet_cell

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_unicode_is_read_in_every_encoding(encoding, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('{"name": "Größe"}'.encode(encoding))
    assert read_json(path) == {"name": "Größe"}
    path.write_bytes("image;label\r\nä.png;Katze\r\n".encode(encoding))
    assert [row.cells for row in read_csv(path)] == [["image", "label"], ["ä.png", "Katze"]]


@pytest.mark.parametrize("data, words", [("ä".encode("latin-1"), "Save it as UTF-8"), (b"abcdef\0", "zero bytes")])
def test_what_is_no_unicode_is_refused(data, words, tmp_path):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(UserError, match=words):
        read_text(tmp_path / "a")


@pytest.mark.parametrize("text", ["{", '{"a": 1, "a": 2}', "[" * 100_000, "1" * 5000, ""])
def test_what_is_no_json_is_refused(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="not a complete JSON file"):
        read_json(tmp_path / "a.json")


TABLES = {
    "comma": "a,b\n1,x;y\n",
    "semicolon": 'a;b\n1;"x;y"\n',
    "tab": "a\tb\n1\tx;y\n",
    "named": "sep=;\na;b\n1;x,y\n",
    "comma in cells": "a;b, c\n1;x\n2;y\n",
    "odd line breaks in cells": "a,b\n1,x\u2028;y\x0b\x85z\n",
    "blank lines": "\na,b\n\n1,x;y\n\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_separators(name, tmp_path):
    (tmp_path / "a.csv").write_text(TABLES[name])
    rows = read_csv(tmp_path / "a.csv")
    assert rows[1].cells[0] == "1" and len(rows[0].cells) == len(rows[1].cells) == 2
    lines = TABLES[name].split("\n")
    assert rows[1].where.endswith(f"line {next(n for n, line in enumerate(lines, 1) if line.startswith('1'))}")


@pytest.mark.parametrize(
    "text, words",
    [("a;b,c\n1;2,3\n", "comma or semicolon"), ('a,b\n"1,2\n3,4\n', "quote missing"), ('a,b\n"1"2,3\n', "is not CSV")],
)
def test_what_is_no_table_is_refused(text, words, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "text, words",
    [("a" * 300, "longer than 255"), ("a.png\0b\n", "zero bytes"), ("a\x1b[2J.png", "control characters")],
)
def test_lists_that_name_no_files(text, words, tmp_path):
    (tmp_path / "a.txt").write_text(f"good.png\n{text}")
    with pytest.raises(UserError, match=words):
        read_list(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["a\nError: all is well.png", "a\x1b[31m.png", "a\x9b2J.png"])
def test_names_that_a_terminal_would_obey_are_refused(name, tmp_path):
    (tmp_path / name).touch()
    with pytest.raises(UserError, match="control characters") as error:
        list_folder(tmp_path, (".png",))
    assert str(error.value).isprintable()
    assert str(UserError(f"{name}: bad")).replace("\n", "").isprintable()


def test_formulas_in_spreadsheets():
    for text in ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1"):
        assert spreadsheet_cell(text) == f"'{text}"
    for value in ("a.png", "/data/=a.png", "-0.5", "+1e-3", -1, 0.5, "", None):
        assert spreadsheet_cell(value) == value
