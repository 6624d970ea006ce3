"""Which pixels of a mask are foreground."""


def is_foreground(mask, ignore_label):
    return (mask > 0) & (mask != (0 if ignore_label is None else ignore_label))
