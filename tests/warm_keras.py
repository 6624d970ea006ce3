"""Imported by the process that `warm_helpers` forks: Keras, as the commands import it."""

from utils.base.startup import without_unused_packages

with without_unused_packages():
    import keras  # noqa: F401

import evaluate  # noqa: F401
import predict  # noqa: F401
import train  # noqa: F401
