"""The forms in which annotation tools write their files: one reader each, and what the readers share.

`forms` is the table of forms, `records` what a reader returns, `shapes` what it draws, `source` the files it reads.
"""
