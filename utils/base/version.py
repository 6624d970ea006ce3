"""The version of the application, the only place of it in the code; run summaries and model cards carry it.

Between two releases it is the coming one with `.dev0`. To release: drop that, name it in CHANGELOG.md and CITATION.cff.
"""

VERSION = "0.2.0.dev0"
