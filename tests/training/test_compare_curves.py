"""The learning curves of several runs in one figure, from their CSV logs."""

import math

import pytest

from utils.base.errors import UserError
from utils.training.compare_curves import draw_runs, main, name_runs, read_log
from utils.training.saving import EpochLog


def write_log(path, *losses):
    log = EpochLog(path, path.with_suffix(".png"), append=False, run=path.stem)
    for epoch, loss in enumerate(losses):
        log.on_epoch_end(epoch, {"loss": loss, "val_loss": 2 * loss, "dice": math.nan, "learning_rate": 0.1})
    return path


def test_two_runs_of_different_length(tmp_path, capsys):
    logs = [write_log(tmp_path / f"training_logs_{name}.csv", *losses) for name, losses in (("a", (2, 1)), ("b", (3,)))]
    main([*map(str, logs), "--output", str(tmp_path / "both.png")])
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path / "both.png") in capsys.readouterr().out
    figure = draw_runs(dict(zip(name_runs(logs), map(read_log, logs), strict=True)))
    assert [axes.get_title() for axes in figure.axes] == ["loss", "dice", "learning_rate"]
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[0].get_lines()}
    assert lines == {
        "a (training)": ([1, 2], [2, 1]),
        "a (validation)": ([1, 2], [4, 2]),
        "b (training)": ([1], [3]),
        "b (validation)": ([1], [6]),
    }
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(lines)


def test_logs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [tmp_path / fold / "training_logs_a.csv" for fold in ("fold0", "fold1")]
    assert name_runs(paths) == [str(path) for path in paths]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is not the log of a training"),
        ("image,mask\na,b\n", "is not the log of a training"),
        ("epoch,loss\n", "is not the log of a training"),
        ("epoch,loss\n0,much\n", "line 2: is not a row of numbers"),
        ("epoch,loss\n0,1,2\n", "line 2: is not a row of numbers"),
    ],
)
def test_what_is_no_log(text, message, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_log(path)


def test_the_command_ends_in_one_line(tmp_path, capsys):
    log = write_log(tmp_path / "training_logs_a.csv", 1.0)
    for arguments, words in (
        ([tmp_path / "nothing.csv"], "nothing.csv cannot be read"),
        ([log, "--output", tmp_path / "curves.txt"], "the picture cannot be written: Format 'txt'"),
    ):
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        assert end.value.code == 2 and words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("curves")] == []
