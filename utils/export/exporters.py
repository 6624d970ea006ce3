"""Write a Keras model in other formats, and run what was written. Packages are imported when they are needed."""

import importlib

import numpy as np

from utils.base.errors import UserError

OPSET = 17


def make_function(model, inside):
    """Return `(tf.function images -> outputs, [tf.TensorSpec])` of an inference model.

    Args:
        inside: bool, EXPORT.PREPROCESS. False: float32 images in [0, 1] -> probabilities. True: uint8 images -> the
            class indices, int32 without the axis of the classes (one class: probability above 0.5 is 1).
    """
    import tensorflow as tf

    _, *shape = model.input_shape
    signature = [tf.TensorSpec([None, *shape], tf.uint8 if inside else tf.float32, name="image")]

    @tf.function(input_signature=signature)
    def function(image):
        if not inside:
            return model(image, training=False)
        output = model(tf.cast(image, tf.float32) / 255.0, training=False)
        if output.shape[-1] == 1:
            return tf.cast(output[..., 0] > 0.5, tf.int32)
        return tf.argmax(output, axis=-1, output_type=tf.int32)

    return function, signature


def needed(package, format_name):
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UserError(
            f"EXPORT.FORMAT={format_name} needs the package {package}: pip install -r requirements-export.txt"
        ) from None


def as_module(model, function):
    import tensorflow as tf

    module = tf.Module()
    module.model, module.serve = model, function
    return module


def write_saved_model(model, function, signature, path, cfg, images):
    import tensorflow as tf

    tf.saved_model.save(as_module(model, function), str(path), signatures={"serving_default": function})


def run_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda image: next(iter(loaded.signatures["serving_default"](image=tf.constant(image)).values())).numpy()


def write_onnx(model, function, signature, path, cfg, images):
    needed("onnxruntime", "onnx")
    needed("onnx", "onnx")
    tf2onnx = needed("tf2onnx", "onnx")
    tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET, output_path=str(path))


def run_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def write_tflite(model, function, signature, path, cfg, images):
    """LiteRT, once TensorFlow Lite. float16 stores weights in half the space; int8 computes in whole numbers."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # As variables the weights would be left behind: what they are read as is undefined.
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if cfg.EXPORT.QUANTIZE is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if cfg.EXPORT.QUANTIZE == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if cfg.EXPORT.QUANTIZE == "int8":
        images = images if cfg.EXPORT.PREPROCESS else images / np.float32(255)
        converter.representative_dataset = lambda: ([image[None]] for image in images)
    path.write_bytes(converter.convert())


def run_tflite(path):
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    take, give = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image):
        interpreter.resize_tensor_input(take, image.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(take, image)
        interpreter.invoke()
        return interpreter.get_tensor(give)

    return run


def write_keras(model, function, signature, path, cfg, images):
    model.save(path)


def run_keras(path):
    import keras

    model = keras.models.load_model(path, compile=False, safe_mode=True)
    return lambda image: model.predict_on_batch(image)
