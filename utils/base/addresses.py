"""Addresses such as gs://bucket/folder where a path on disk is needed."""

from utils.base.errors import UserError


def refuse_address(path: object) -> None:
    """Raise a UserError if a path is a URL, of which Python would make a folder of that name.

    >>> refuse_address("data/train")
    """
    if "://" in str(path):
        raise UserError(
            f"{path}: is an address, where a path on disk is needed; only IMAGES_PATH of shards can be in cloud "
            "storage. Copy it, or mount the bucket as a folder, and name that."
        )
