"""Plan an experiment from a folder of images and masks, for plan.py.

`stored_form` finds and reads images and masks of any form, `pair_properties` measures and `splitting` divides them.
`classes`, `void`, `class_names`, `label_sets`, `slices`, `input_size`, `intensities`, `objects`, `networks` and
`start_weights` derive settings, each with its reason; `choices` puts them together, `experiment_file` writes them as
YAML and `timing` tries them. `advice` says what to type where images and masks do not fit.
"""
