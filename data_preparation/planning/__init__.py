"""Plan an experiment from a folder of images and masks, for plan.py.

`stored_form` finds and reads images and masks of any form, `pair_properties` measures and `splitting` divides them.
`classes`, `void`, `class_names`, `input_size`, `intensities`, `objects` and `networks` derive settings, each with its
reason; `choices` puts them together, `experiment_file` writes them as YAML and `timing` tries them.
"""
