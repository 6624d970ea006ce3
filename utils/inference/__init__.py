"""From images to written predictions: forward pass, test-time augmentation, sliding window, postprocessing, writers."""
