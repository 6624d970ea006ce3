"""What the network is to see of a volume with PREPROCESS_DATA.SCOPE=volume, by NumPy."""

import numpy as np


def expected_by_numpy(volume, cfg):
    """Values measured over the whole `volume`, an array of any shape."""
    group, volume = cfg.PREPROCESS_DATA, volume.astype(float)
    counted = volume[volume > 0] if group.FOREGROUND else volume
    if group.IMAGE_PREPROCESSING_TYPE == "percentile":
        low, high = np.percentile(counted, group.PERCENTILES)
        return np.clip((volume - low) / (high - low), 0, 1)
    scaled = (volume - counted.mean()) / counted.std()
    return np.clip(np.where(volume > 0, scaled, 0) if group.FOREGROUND else scaled, -4, 8)
