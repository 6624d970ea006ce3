"""Decoders: feature maps by stride -> finer maps, the mask's first."""
