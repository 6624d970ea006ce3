"""Tables of class labels: names, one-hot columns, and what could be either."""

import pytest

from data_generators.files.label_tables import read_label_table
from utils.base.errors import UserError

READ = {
    "image,label\na.png,cat\nb.png,dog\n": [("cat",), ("dog",)],
    "a.png,cat\nb.png,dog,small\n": [("cat",), ("dog", "small")],
    "image;label\na.png;cat\nb.png;dog\n": [("cat",), ("dog",)],
    "image\tlabel\na.png\tcat\nb.png\tdog\n": [("cat",), ("dog",)],
    "image,label1,label2\na.png,cat,\nb.png,dog,small\n": [("cat",), ("dog", "small")],
    "image,cat,dog\na.png,1,0\nb.png,0,1\n": [("cat",), ("dog",)],
    "image,cat,dog\na.png,1.0,0.0\nb.png,1.0,1.0\n": [("cat",), ("cat", "dog")],
    "image,label\na.png,0\nb.png,1\n": [("0",), ("1",)],
}
REFUSED = {
    "a.png,1,0\nb.png,0,1\n": "no first line that names their classes",
    "image,label,label\na.png,1,0\nb.png,0,1\n": "must be the names of the classes",
    "image,cat,dog\na.png,1,0\nb.png,0\n": "line 3: has 2 cells",
    "image,label,age,sex\na.png,cat,7,f\nb.png,dog,3,m\n": "the columns age, sex are read as labels",
}
PROBLEMS = {
    "image,cat,dog\na.png,0,0\nb.png,0,1\n": "line 2: a.png has no label",
    "a.gif,cat\nb.png,dog\n": "line 1: the file",  # was taken for headings
    "a.png,cat\nb.png,dog\n\na.png,dog\n": "line 4: a.png has other labels in a row above",
}


@pytest.fixture
def table(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.png").touch()
    return tmp_path / "labels.csv"


@pytest.mark.parametrize("text", READ)
def test_forms(text, table):
    table.write_text(text)
    samples, problems = read_label_table(table)
    assert not problems and [sample.labels for sample in samples] == READ[text]
    assert [sample.image.name for sample in samples] == ["a.png", "b.png"]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_certain_is_refused(text, table):
    table.write_text(text)
    with pytest.raises(UserError, match=REFUSED[text]):
        read_label_table(table)


@pytest.mark.parametrize("text", PROBLEMS)
def test_rows_that_cannot_be_used(text, table):
    table.write_text(text)
    assert PROBLEMS[text] in read_label_table(table)[1][0]
