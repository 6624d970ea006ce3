"""Plan an experiment from a folder of images and masks, for plan.py.

`pair_properties` measures images and masks, `classes`, `input_size` and `choices` derive settings from them, each with
its reason, and `experiment_file` writes them as YAML.
"""
