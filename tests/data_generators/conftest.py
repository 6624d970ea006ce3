"""Fixtures of the tests of both augmentation engines."""

from augmentation_helpers import stored  # noqa: F401
