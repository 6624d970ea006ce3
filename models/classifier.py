"""An image classifier on any encoder."""

from keras import KerasTensor, layers
from omegaconf import DictConfig

from models.layers.blocks import FeatureMaps


def classify(features: FeatureMaps, classes: int, settings: DictConfig) -> dict[str, KerasTensor]:
    """Global average pooling of the coarsest map, dropout, a dense layer.

    Args:
        features: {stride: encoder map `(batch, height, width, channels)`}.
        classes: OUTPUT.CLASSES.
        settings: of `models.model_settings`.

    Returns:
        {"label": `(batch, classes)` probabilities in float32}; with softmax they sum to 1, with sigmoid each class is
        decided for itself.
    """
    x = layers.GlobalAveragePooling2D(name="pool")(features[max(features)])
    x = layers.Dropout(settings.CLASSIFIER_DROPOUT, name="dropout")(x)
    activation = settings.CLASSIFIER_ACTIVATION or ("sigmoid" if classes == 1 else "softmax")
    x = layers.Dense(classes, name="logits")(x)
    return {"label": layers.Activation(activation, dtype="float32", name="label")(x)}
