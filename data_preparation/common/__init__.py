"""What the commands share: their command line, the dataset writer, splits and groups, file lists, reports.

`command_line` makes a command from a function, `dataset_writer` writes pairs of image and mask, `splits`,
`stratified_splits` and `groups` decide which split a pair belongs to, `pair_check` and `dataset_report` examine a
dataset.
"""
