"""Metrics of a mask output, collected batch by batch: of the whole set, of each image, of each channel.

A pixel is predicted as the class of the largest probability (the first of equals); with a single class as foreground
where p > 0.5, and so is each class with OUTPUT.MULTI_LABEL.
It is truly of a class where `y_true` of that class is above 0.5. `y_true` has one of the shapes of
`losses.targets.to_one_hot`. Pixels of the ignored label (`ignore_label`, or None) are excluded from all metrics.
`docs/reference/metrics.md` says which of them is which published number.
"""
