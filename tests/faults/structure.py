"""Change the structure of JSON, YAML and CSV files: other types, shorter lists, repeated ids, missing keys and columns.

    python tests/faults/structure.py [MUTATIONS] [SEED]     # prints the table of docs/explanation/faults.md

Unlike the damage of `damage.py` these files are whole: they are read without an error of the format, and their content
is what its reader does not expect. It may be refused with a `UserError`, or read; any other exception is lost.
"""

import copy
import csv
import io
import json
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import yaml
from damage import FILES, count_outcomes, in_process, print_table
from public_format_helpers import make_camvid

from data_generators.augmentation.policy_files import check_policy, read_policy
from data_generators.files.tfrecord import encode_example, write_records
from data_generators.files.tfrecord_index import read_shard
from data_preparation import index_masks
from data_preparation.common.colour_tables import read_table
from data_preparation.common.dataset_record import RECORD

ODD = (
    None, True, False, -1, 0, 7, 2.5, 10**30, 1e308, float("nan"), float("inf"), "", " ", "x", "1", "0.5", "a" * 300,
    "a\0b", "../outside", "/etc/passwd", "\udcff", "a\nb", "\x1b[31mred", "=1+1", "${oc.env:HOME}", [], [[]], [1, "a"],
    [None], {}, {"a": 1}, [{}],
)  # fmt: skip
NAMES = (b"a.png", b"\xe4.png", b"\xff\xfe", b"", b"a\0.png", b"../a.png", b"a" * 5000, b"\n")
CELLS = (
    "",
    " ",
    "x",
    "-1",
    "1e99",
    "nan",
    "0",
    "256",
    "a" * 300,
    '"',
    "1 2 3 4 5",
    "../outside",
    "ä",
    "#ff0000",
    "1;2",
)


def nodes(value, path=()):
    """The paths of all values below a value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from nodes(child, (*path, key))


def parent_of(value, path):
    for key in path[:-1]:
        value = value[key]
    return value


def change(value, random_):
    """Change one value of a structure in place."""
    path = random_.choice(list(nodes(value)))
    parent, key = parent_of(value, path), path[-1]
    kind = random_.choice(("type", "drop", "repeat", "shorten", "swap", "rename"))
    if kind == "drop":
        del parent[key]
    elif kind == "repeat" and isinstance(parent, list):
        parent.insert(random_.randrange(len(parent) + 1), copy.deepcopy(parent[key]))
    elif kind == "shorten" and isinstance(parent[key], list | dict) and parent[key]:
        keep = random_.randrange(len(parent[key]))
        cut = parent[key][:keep] if isinstance(parent[key], list) else dict(list(parent[key].items())[:keep])
        parent[key] = cut
    elif kind == "swap":
        other = random_.choice(list(nodes(value)))
        parent[key] = copy.deepcopy(parent_of(value, other)[other[-1]])
    elif kind == "rename" and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    else:
        parent[key] = copy.deepcopy(random_.choice(ODD))


def changed_structures(load, dump):
    """Function (bytes, count, seed) -> copies of a file with one to three values changed."""

    def mutate(data, count, seed):
        random_ = random.Random(seed)
        for _ in range(count):
            value = load(data.decode())
            for _ in range(random_.choice((1, 1, 3))):
                if list(nodes(value)):
                    change(value, random_)
            if random_.random() < 0.05:
                value = random_.choice(ODD)
            yield dump(value).encode(errors="replace")

    return mutate


def changed_rows(data, count, seed):
    """Copies of a CSV file with cells, rows or columns changed, in other encodings and with other separators."""
    random_ = random.Random(seed)
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
    for _ in range(count):
        table = copy.deepcopy(rows)
        for _ in range(random_.choice((1, 1, 3))):
            change_table(table, random_)
        file = io.StringIO()
        csv.writer(file, delimiter=random_.choice(",,,;\t|")).writerows(table)
        encoding = random_.choice(("utf-8", "utf-8", "utf-8", "latin-1", "utf-16", "utf-16-le"))
        yield file.getvalue().encode(encoding, errors="replace")


def change_table(table, random_):
    """Change a cell, a row or a column of a table in place."""
    if not table:
        return
    row, kind = random_.randrange(len(table)), random_.choice(("cell", "drop", "repeat", "short", "wide", "column"))
    column = random_.randrange(max(len(table[row]), 1))
    if kind == "cell" and table[row]:
        table[row][column] = random_.choice(CELLS)
    elif kind == "drop":
        del table[row]
    elif kind == "repeat":
        table.insert(random_.randrange(len(table) + 1), list(table[row]))
    elif kind == "short":
        table[row] = table[row][:column]
    elif kind == "wide":
        table[row] = [*table[row], random_.choice(CELLS)]
    else:
        table[:] = [cells[:column] + cells[column + 1 :] for cells in table]


def changed_lines(data, count, seed):
    """Copies of a text with lines changed, repeated or joined."""
    random_ = random.Random(seed)
    lines = data.decode().splitlines()
    for _ in range(count):
        found = list(lines)
        for _ in range(random_.choice((1, 1, 3))):
            place = random_.randrange(len(found))
            words = random_.choice(("a" * 5000, "\0", "..", "/", ".", "~", "\x1b[2J", "ä", "=x", found[place] * 2, ""))
            found[place : place + random_.choice((0, 1))] = [words]
        yield "\n".join(found).encode(random_.choice(("utf-8", "utf-8", "latin-1", "utf-16")))


def changed_names(data, count, seed):
    """Shards whose checksums are right, and whose records have other names and features."""
    random_ = random.Random(seed)
    for _ in range(count):
        names = random_.choices(
            (b"a.png", b"\xe4.png", b"\xff\xfe", b"", b"a\0.png", b"../a.png", b"a" * 5000, b"\n"), k=3
        )
        features = [{"image": b"data", "mask": b"data", "name": name, "mask_name": name} for name in names]
        for entry in features:
            if random_.random() < 0.3:
                del entry[random_.choice(list(entry))]
        examples = [encode_example(entry) for entry in features]
        place = random_.randrange(len(examples))
        if random_.random() < 0.3:
            changed = bytearray(examples[place])
            changed[random_.randrange(len(changed))] = random_.randrange(256)
            examples[place] = bytes(changed)
        file = io.BytesIO()
        write_records(file, examples)
        yield file.getvalue()


def shard_names(folder):
    path = folder / "train.tfrec"
    with open(path, "wb") as file:
        write_records(file, [encode_example({"image": b"data", "name": b"a.png"})])
    return path, lambda path: [(str(image), image.stem, image.suffix) for image, _ in read_shard(str(path))]


def colour_table(folder):
    path = folder / "colours.csv"
    path.write_text("id,name,r,g,b\n0,void,0,0,0\n1,car,64,0,128\n2,tree,1,2,3\n")
    return path, read_table


def prepared(folder):
    """The record of a dataset that is prepared again."""
    source, output = make_camvid(folder / "CamVid"), folder / "data"
    arguments = (source / "{split}", source / "{split}annot", output)
    in_process(index_masks)(*arguments)
    outside = folder / "outside.png"

    def read(path):
        outside.touch()
        try:
            in_process(index_masks)(*arguments)
        finally:
            assert outside.exists() and len(list(source.rglob("*.png"))) == 12, "files of others were removed"

    return output / RECORD, read


def applied_policy(folder):
    """A policy, read and applied to pictures as training does."""
    path, _ = FILES["augmentation policy, YAML"](folder)
    image, mask = np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64), np.uint8)

    def read(path):
        policy = read_policy(path)
        check_policy(policy, image.shape, path)
        for _ in range(5):
            policy(image=image, mask=mask)

    return path, read


def saved_config(folder):
    """The config beside weights, edited by hand: without its checksum."""
    path, read = FILES["config of weights, YAML"](folder)
    path.write_text(path.read_text().partition("\n")[2])
    return path, read


JSON, YAML = changed_structures(json.loads, json.dumps), changed_structures(yaml.safe_load, yaml.dump)

# Kind of file -> (as FILES of damage.py, function (bytes, count, seed) -> changed copies)
STRUCTURES = {
    "COCO": (FILES["COCO, JSON"], JSON),
    "Decathlon": (FILES["Decathlon, JSON"], JSON),
    "manifest": (FILES["manifest, JSON"], JSON),
    "evaluation.json": (FILES["evaluation.json"], JSON),
    "prepared.json": (prepared, JSON),
    "augmentation policy": (applied_policy, YAML),
    "config of weights": (saved_config, YAML),
    "CSV of labels": (FILES["CSV of labels"], changed_rows),
    "CSV of run-length codes": (FILES["CSV of run-length codes"], changed_rows),
    "table of colours": (colour_table, changed_rows),
    "list of a fold": (FILES["list of a fold"], changed_lines),
    "names in a TFRecord shard": (shard_names, changed_names),
}


def outcomes_of(name, folder, count, seed):
    """Counter of the outcomes of so many changed copies; see `damage.count_outcomes`."""
    make, mutate = STRUCTURES[name]
    path, read = make(folder)
    return count_outcomes(path, read, mutate(path.read_bytes(), count, f"{name} {seed}"))


def rows(count, seed):
    """Yield (fault, Counter) of all files."""
    for name in STRUCTURES:
        with tempfile.TemporaryDirectory() as folder:
            yield f"{name}, structure changed", outcomes_of(name, Path(folder), count, seed)


if __name__ == "__main__":
    count, seed = (int(text) for text in (*sys.argv[1:], *("150", "0")[len(sys.argv) - 1 :]))
    print(f"seed {seed}, {count} copies of each kind of file")
    print_table(rows(count, seed))
