"""Weights of other programs: read without running code of theirs, and converted by the names of their arrays."""
