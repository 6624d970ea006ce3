"""Predict with trained networks: forward pass, test-time augmentation, sliding window, postprocessing, writers.

`predictor` turns images into probabilities, `prediction` runs it over files, `output` turns probabilities into masks
and hands them to the writers; `writers` has one file per output format and the table of them.
"""
