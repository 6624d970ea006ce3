"""How loaders hand over the z-scores of a volume: images are in [0, 1], so a range of z-scores becomes it."""

# Standard deviations from the mean that become 0 and 1; values beyond are clipped. The mean is level 21845 of 65535.
LOWEST, HIGHEST = -4.0, 8.0
