"""The pages of measured runs, made of what results.py left in docs/results/<name>/, and the tables that list them."""

import csv
import json
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from utils.base.errors import UserError
from utils.base.wording import counted
from utils.evaluation.score_table import in_order, score_texts

PUBLISHED = Path(__file__).resolve().parent / "published.yaml"
# Scores of a whole split that a page shows where evaluation.json has them; the others are in result.json.
OF_THE_SET = (
    "pixel_accuracy",
    "iou_all_classes",
    "dice",
    "iou",
    "dice_coef",
    "sensitivity",
    "precision",
    "specificity",
)
# Places in hand-written files that are filled in: the file, the lines around what is written.
SUMMARY = ("docs/results/README.md", "<!-- runs: written by benchmarks/results.py -->", "<!-- end of runs -->")
BEST = ("README.md", "<!-- best runs: written by benchmarks/results.py -->", "<!-- end of best runs -->")
NAVIGATION = ("mkdocs.yml", "      # runs: written by benchmarks/results.py", "      # end of runs")
EXPERIMENTS = "docs/results/experiments.md"
MISSING = "-"


def read_data_set(name: str) -> dict[str, Any]:
    """What published.yaml says of the data set of a run, whose name begins with its key.

    Raises:
        UserError: there is none.
    """
    table = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    key = name.partition("_")[0]
    if key not in table:
        raise UserError(
            f"{name}: benchmarks/published.yaml has no data set {key}, only {', '.join(table)}. Add it there, or name "
            "the run after one of them with MODEL.WEIGHTS_FILE_NAME."
        )
    published = [other for other in table[key]["published"] if name.startswith(other.get("runs", ""))]
    return {**table[key], "published": published}


def write_pages(project: Path) -> list[str]:
    """Write the page of every run in docs/results, and list it in the summary, the experiments and the navigation.

    Returns:
        The pages, relative to `project`.
    """
    folder = project / "docs/results"
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/result.json"))]
    for result in results:
        page = "\n".join(page_lines(result, read_data_set(result["name"]), folder / result["name"]))
        (folder / f"{result['name']}.md").write_text(f"{page}\n", encoding="utf-8")
    fill_in(project, *SUMMARY, summary_lines(results, folder))
    fill_in(project, *BEST, best_lines(results))
    fill_in(project, *NAVIGATION, (f"      - results/{result['name']}.md" for result in results))
    fill_in_experiments(project / EXPERIMENTS, results)
    return [f"docs/results/{result['name']}.md" for result in results]


def fill_in(project: Path, file: str, begin: str, end: str, lines: Iterable[str]) -> None:
    """Put lines between two marking lines of a file.

    Raises:
        UserError: the file lacks them.
    """
    text = (project / file).read_text(encoding="utf-8")
    before, found, rest = text.partition(f"{begin}\n")
    _, closed, after = rest.partition(f"{end}\n")
    if not found or not closed:
        raise UserError(
            f"{file}: lacks the lines {begin.strip()!r} and {end.strip()!r}, between which runs are listed."
        )
    body = "".join(f"{line}\n" for line in lines)
    (project / file).write_text(f"{before}{begin}\n{body}{end}\n{after}", encoding="utf-8")


def fill_in_experiments(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Replace the last two cells of the row of each experiment that was run: what others published, and its runs."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if (row := re.match(r"\| `(\w+)` \|", line)) and (runs := [r for r in results if experiment_of(r) == row[1]]):
            scores = [("on a stand-in: " if is_stand_in(run) else "") + headline(run) for run in runs]
            cells = [f"{score} ([{run['name']}]({run['name']}.md))" for score, run in zip(scores, runs, strict=True)]
            published = "; ".join(other["value"] for other in read_data_set(runs[0]["name"])["published"])
            what, system = line.split(" | ")[:2]
            lines[number] = f"{what} | {system} | {published or 'none known'} | {'; '.join(cells)} |"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def is_stand_in(result: Mapping[str, Any]) -> bool:
    """Whether it was measured on other data than that of the experiment."""
    return bool(read_data_set(result["name"]).get("stand_in"))


def experiment_of(result: Mapping[str, Any]) -> str | None:
    """The experiment that a run was started with: `lgg_unet` of `+experiment=lgg_unet`."""
    typed = result["training"][0]["overrides"]
    return next((text.partition("=")[2] for text in typed if text.startswith("+experiment=")), None)


def headline(result: Mapping[str, Any]) -> str:
    """The score that published.yaml names: `test pixel_accuracy 0.853`.

    Raises:
        UserError: it was not evaluated.
    """
    split, score, value = headline_score(result)
    return f"{split} `{score}` {number(value)}"


def headline_score(result: Mapping[str, Any]) -> tuple[str, str, float]:
    """See `headline`: the split, the name of the score and its value."""
    wanted = read_data_set(result["name"])["headline"]
    split, score = wanted["split"], wanted["score"]
    value = result["evaluation"]["splits"].get(split, {}).get("scores", {}).get(score)
    if value is None:
        raise UserError(f"{result['name']}: {score} of {split} was not evaluated: EVALUATION.SPLITS=[{split}].")
    return split, score, value


def measured(result: Mapping[str, Any]) -> str:
    """The headline with its interval, and the second score that published.yaml names beside it."""
    split, score, _ = headline_score(result)
    scores = [score, *filter(None, [read_data_set(result["name"])["headline"].get("also")])]
    entry = result["evaluation"]["splits"][split]
    return "; ".join(f"`{other}` " * (other != score) + with_interval(entry, other) for other in scores)


def goal_of(result: Mapping[str, Any]) -> str | None:
    """The goal of the headline that was set before the run, and whether it was met; None without one."""
    goal = read_data_set(result["name"]).get("goals", {}).get(result["name"])
    if goal is None:
        return None
    return f"{number(goal)}: {'met' if headline_score(result)[2] >= goal else 'missed'}"


def summary_lines(results: Sequence[Mapping[str, Any]], folder: Path) -> Iterator[str]:
    """The table of all runs, whose files are in folders of their names in `folder`."""
    yield "| Run | Data | Score | Measured [95 % interval] | Constant answer | Goal | Published, like for like? |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for result in results:
        data_set, name = read_data_set(result["name"]), result["name"]
        split, score, _ = headline_score(result)
        entry = result["evaluation"]["splits"][split]
        published = "; ".join(
            f"{other['value']}: {str(other['alike']).partition(':')[0]}" for other in data_set["published"]
        )
        cells = [
            f"[{name}]({name}.md)",
            data_set["data"].partition(",")[0],
            f"{split} `{score}`",
            measured(result),
            constant_of_volumes(split, entry, score, folder / name) or constant_of(entry, score),
            goal_of(result) or MISSING,
            published or "none known",
        ]
        yield table_row(cells)


def best_lines(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table of the run on each data set that is the best in validation."""

    def validated(result: Mapping[str, Any]) -> float:
        _, score, _ = headline_score(result)
        return result["evaluation"]["splits"]["val"]["scores"][score]

    yield "| Data | Score [95 % interval] |"
    yield "| --- | --- |"
    real = [result for result in results if not is_stand_in(result)]
    for _, runs in groupby(real, key=lambda result: result["name"].partition("_")[0]):
        best = max(runs, key=validated)
        (split, score, _), name = headline_score(best), best["name"]
        data = read_data_set(name)["data"].partition(",")[0]
        yield table_row([f"[{data}](docs/results/{name}.md)", f"{split} `{score}` {measured(best)}"])


def training_command(commands: Sequence[str]) -> str:
    """One command for all folds of a run.

    >>> training_command(["python train.py DATASET.FOLD=0 SEED=1", "python train.py DATASET.FOLD=1 SEED=1"])
    'python train.py -m DATASET.FOLD=0,1 SEED=1'
    """
    if len(commands) == 1:
        return commands[0]
    fold = re.compile(r"(?<=DATASET\.FOLD=)\d+")
    folds = ",".join(number for command in commands for number in fold.findall(command))
    return fold.sub(folds, commands[0]).replace("train.py", "train.py -m", 1)


def page_lines(result: Mapping[str, Any], data_set: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """The page of a run."""
    name, evaluation = result["name"], result["evaluation"]
    yield f"# {name}"
    yield ""
    yield "<!-- written by benchmarks/results.py; change that or benchmarks/published.yaml, not this page -->"
    yield ""
    yield f"{data_set['data']}. Licence: {data_set['licence']}."
    remarks = (data_set.get("note"), data_set.get("runs", {}).get(name))
    yield from (remark for remark in remarks if remark)
    yield ""
    yield "```sh"
    yield from data_set["prepare"]
    yield training_command([run["command"] for run in result["training"]])
    yield evaluation["command"]
    yield "```"
    yield ""
    if goal := goal_of(result):
        yield from (f"Goal of {headline(result).rpartition(' ')[0]}: {goal}.", "")
    yield from run_lines(result)
    for split, entry in evaluation["splits"].items():
        yield from split_lines(split, entry, result)
    yield from rule_lines(evaluation["splits"].values())
    yield from published_lines(data_set["published"], result)
    if "batches" in result:
        means = (f"{split} IoU {number(m['IoU'])}, Dice {number(m['Dice'])}" for split, m in result["batches"].items())
        size = data_set["batches"]
        yield from (
            f"Averaged over batches of {size} images in the order of their names, empty ones 1: {'; '.join(means)}.",
            "",
        )
    yield from ("## Curves", "", f"![Learning curves of {name}]({name}/curves.jpg)", "")
    if (folder / "pictures.jpg").exists():
        yield from ("## Pictures", "", f"![Worst, median and best cases of {name}]({name}/pictures.jpg)", "")
    elif data_set["thumbnails"]:
        yield from ("No pictures of this run were kept.", "")
    else:
        yield from ("No pictures: the licence of the images does not clearly allow them.", "")
    links = (
        f"[{path.name}]({name}/{path.name})" for path in sorted(folder.glob("*")) if path.suffix in (".csv", ".json")
    )
    yield f"Files: {', '.join(links)}. `split.csv` lists what was in which split."


def run_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """What was run, on what, and how long it took."""
    runs = result["training"]
    first, machine = runs[0], runs[0]["machine"]
    since = [run["since_last_start"] for run in runs]
    seconds, epochs = sum(entry["seconds"] for entry in since), sum(entry["epochs"] for entry in since)
    resumed = sum(result["epochs"]) - epochs
    batch = result["batch_size"]
    steps = math.ceil(first["images"]["train"] / batch)
    took = (
        f"{seconds / epochs:.1f} s per epoch of {counted(steps, 'step')} of {counted(batch, 'image')}, validation "
        f"included ({seconds / epochs / steps:.2f} s per step), {seconds / 60:.0f} min for {counted(epochs, 'epoch')}"
    )
    rows = {
        "model": f"{first['model']}, {first['parameters']:,} parameters, {first['precision']}",
        "images": ", ".join(f"{split} {count}" for split, count in first["images"].items()),
        "epochs": f"{' + '.join(str(count) for count in result['epochs'])}"
        + (f" in {len(runs)} folds" if len(runs) > 1 else ""),
        "best weights": ", ".join(
            f"epoch {run['best']['epoch']} by `{run['best']['score']}` {number(run['best']['value'])}" for run in runs
        ),
        "time": took + (f"; {resumed} more before an interruption" if resumed else ""),
        "machine": f"{machine['processor']}, {machine['cores']} core(s) for this run, {machine['memory_gib']} GiB, "
        f"{', '.join(machine['gpus']) or 'no GPU'}",
        "versions": ", ".join(f"{name} {version}" for name, version in first["versions"].items()),
        "commit": ", ".join(dict.fromkeys(f"`{run['commit']}`" for run in runs)),
        "finished": runs[-1]["finished"],
    }
    yield from ("| Run | |", "| --- | --- |")
    yield from (table_row(row) for row in rows.items())
    yield ""


def split_lines(split: str, entry: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    """The scores of a split."""
    scores, rules = entry["scores"], result["rules"]
    cases = (
        f"{counted(entry['cases'], entry['case'])}, {counted(entry['images'], 'image')}"
        if entry["case"] == "volume"
        else counted(entry["images"], "image")
    )
    yield from (f"## {split}: {cases}", "")
    yield from ("| Score | Value | Best constant answer | How it averages |", "| --- | --- | --- | --- |")
    for name in OF_THE_SET:
        if name in scores and name in rules:
            yield table_row([f"`{name}`", number(scores[name]), constant_of(entry, name), rules[name]])
    columns = shown_scores(entry)
    yield ""
    yield table_row(["Class, with 95 % interval", "cases", *(score_texts(name)[0] for name in columns)])
    yield table_row(["---"] * (2 + len(columns)))
    for region, found in entry["regions"].items():
        count = str(max((found[name]["cases"] for name in columns if name in found), default=0))
        title = "all foreground" if region == "foreground" else result["classes"][int(region.removeprefix("class"))]
        yield table_row([title, count, *(with_interval(entry, f"{name}_{region}") for name in columns)])
    yield ""


def shown_scores(entry: Mapping[str, Any]) -> list[str]:
    """The scores of classes that a split has."""
    return in_order(name for found in entry["regions"].values() for name in found)


def rule_lines(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """How the scores of classes average; the intervals resample cases."""
    shown = {name: entry["case"] for entry in entries for name in shown_scores(entry)}
    yield from (
        f"* {title} (`{name}`): {rule.format(cases=f'{case}s')}."
        for name, case in shown.items()
        for title, rule in [score_texts(name)]
    )
    yield "* Intervals: 95 % percentile bootstrap over cases. They do not cover another split or another training."
    yield ""


def published_lines(published: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> Iterator[str]:
    """What others published, and the score here that corresponds to it."""
    if not published:
        yield from ("No published figure of this task on this split is known.", "")
        return
    yield from (
        "## Published",
        "",
        "| By | Figure | Protocol | Here | Like for like? |",
        "| --- | --- | --- | --- | --- |",
    )
    for other in published:
        here = [
            f"{split} `{name}` {number(entry['scores'][name])}"
            for split, entry in result["evaluation"]["splits"].items()
            for name in other["ours"]
            if name in entry["scores"]
        ]
        yield table_row([other["by"], other["value"], other["protocol"], ", ".join(here), other["alike"]])
    yield ""


def with_interval(entry: Mapping[str, Any], score: str) -> str:
    """A score of a split, with its interval if it has one: `0.861 [0.832, 0.884]`."""
    for region, found in entry["regions"].items():
        name = score.removesuffix(f"_{region}")
        if name != score and name in found:
            value, low, high = (found[name][key] for key in ("value", "low", "high"))
            return number(value) if low is None else f"{number(value)} [{number(low)}, {number(high)}]"
    return number(entry["scores"].get(score))


def constant_of(entry: Mapping[str, Any], score: str) -> str:
    """What the best constant answer scores; cases have none of their own in evaluation.json."""
    return number(entry.get("best_constant_answer", {}).get(score, {}).get("value"))


def constant_of_volumes(split: str, entry: Mapping[str, Any], score: str, folder: Path) -> str | None:
    """The mean Dice of volumes of an answer with their class in every voxel; None for other scores.

    Their images have one size, that of the network: each has an equal part of the pixels of the confusion matrix.
    """
    if entry["case"] != "volume" or not score.startswith("dice_per_case_class"):
        return None
    region, size = score.rpartition("_")[2], sum(map(sum, entry["confusion"])) / entry["images"]
    with open(folder / "per_volume.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    counts = [(int(row[f"true_{region}"]), int(row["images"]) * size) for row in rows]
    return number(statistics.mean(2 * true / (true + pixels) for true, pixels in counts))


def number(value: float | None) -> str:
    """A number as tables show it.

    >>> number(0.86149), number(12.3456), number(None)
    ('0.861', '12.3', '-')
    """
    if value is None:
        return MISSING
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def table_row(cells: Iterable[str]) -> str:
    """A row of a Markdown table.

    >>> table_row(["a|b", "c"])
    '| a\\\\|b | c |'
    """
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"
