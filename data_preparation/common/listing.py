"""List pictures, report problems."""

from data_generators.files.pairing import MAX_LISTED, is_image_file
from utils.base.errors import UserError


def list_pictures(folder, recursive=False):
    """Return `(pictures, skipped)` of a folder, sorted; what is hidden or no picture is skipped with a reason."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    pictures, skipped = [], []
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        if path.is_dir():
            continue
        if is_image_file(path):
            pictures.append(path)
        else:
            skipped.append((path, "hidden file" if path.name.startswith(".") else "not a picture"))
    return pictures, skipped


def refuse(problems):
    """Raise a UserError of one line that tells the first problems, if there are any."""
    if problems:
        more = len(problems) - MAX_LISTED
        raise UserError(" ".join(problems[:MAX_LISTED]) + (f" ... and {more} more." if more > 0 else ""))


def by_key(items, key):
    """`{key(item): item}`; two items of one key are an error."""
    found = {}
    for item in items:
        other = found.setdefault(key(item), item)
        if other is not item:
            raise UserError(f"{other.image} and {item.image} would both be written as {item.name}. Rename one.")
    return found
