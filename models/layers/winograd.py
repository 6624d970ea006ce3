"""3x3 convolutions with a quarter of the multiplications (Winograd's minimal filtering): TensorFlow on a CPU.

F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308: 36 products give a
tile of 4x4 pixels, where 4x4x9 were needed. They are the values of polynomials at 6 points of each axis; which points
keep rounding errors small was studied by Barabasz et al., arXiv:1803.10986.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import tensorflow as tf

TILE = 4  # pixels of an output tile, in height and width
TAPS = 3
BAND_BYTES = 2**22  # of the input of a band of tile rows: what is held at a time of the transformed maps
POINTS = (0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))  # and infinity


def transforms(points: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices of one axis.

    The product of polynomials p q with k coefficients is found from its values at k - 1 points and its highest
    coefficient, the value "at infinity". Filtering is the transpose of that product.

    Returns:
        of the input `(6, 6)`, of the kernel `(6, 3)`, of the output `(4, 6)`: output @ ((input @ x) * (kernel @ k)) is
        x filtered with k.
    """
    inputs: list[np.ndarray] = []
    kernels: list[np.ndarray] = []
    outputs: list[np.ndarray] = []
    for point in points:
        others = [other for other in points if other != point]
        inputs.append(np.append(np.poly(others)[::-1], 0))
        kernels.append(np.power(float(point), range(TAPS)) / np.prod(np.subtract(point, others)))
        outputs.append(np.power(float(point), range(TILE)))
    inputs.append(np.poly(points)[::-1])
    kernels.append(np.eye(TAPS)[-1])
    outputs.append(np.eye(TILE)[-1])
    return np.stack(inputs).round(12), np.stack(kernels), np.stack(outputs, axis=1).round(12)


INPUT, KERNEL, OUTPUT = transforms(POINTS)
POSITIONS = len(INPUT)


@tf.custom_gradient
def _conv2d(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        of_kernel = kernel_gradient(x, upstream)
        with tf.control_dependencies([of_kernel]):  # both at a time would take the memory of both
            upstream = tf.identity(upstream)
        return convolve(upstream, tf.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))), of_kernel

    return convolve(x, kernel), gradient


def conv2d(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolution 3x3, stride 1, zero padding ("same").

    Args:
        x: `(batch, height, width, channels)`; all but the batch must be known.
        kernel: `(3, 3, channels, filters)`.

    Returns:
        `(batch, height, width, filters)`, equal to `tf.nn.conv2d` up to rounding: in float32 within 3e-5 of the
        standard deviation.
    """
    return _conv2d(x, tf.convert_to_tensor(kernel))  # a variable among the arguments would want a gradient of its own


def convolve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`conv2d` itself."""
    bands = Bands(x.shape[1:], kernel.shape[-1])
    kernel_points = tf.einsum("ia,jb,abcf->jicf", KERNEL.astype(x.dtype.name), KERNEL.astype(x.dtype.name), kernel)
    rows = tf.reshape(x, (-1, *x.shape[2:]))
    count = tf.shape(x)[0] * bands.number

    def one_band(index: tf.Tensor, y: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        points = input_points(*bands.take(rows, index, margin=1))
        return index + 1, y.write(index, output_pixels(tf.matmul(points, kernel_points), bands.width))

    y = tf.TensorArray(x.dtype, count, element_shape=(bands.rows, bands.width, kernel.shape[-1]))
    y = tf.while_loop(lambda index, y: index < count, one_band, (0, y), parallel_iterations=1)[1].stack()
    y = tf.reshape(y, (-1, bands.number * bands.rows, bands.width, kernel.shape[-1]))
    return y if y.shape[1] == bands.height else y[:, : bands.height]


def kernel_gradient(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """`(batch, height, width, channels)` and `(batch, height, width, filters)` -> `(3, 3, channels, filters)`."""
    bands = Bands(x.shape[1:], upstream.shape[-1])
    x_rows = tf.reshape(x, (-1, *x.shape[2:]))
    upstream_rows = tf.reshape(upstream, (-1, *upstream.shape[2:]))

    def one_band(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        points = input_points(*bands.take(x_rows, index, margin=1))
        upstream_points = gradient_points(*bands.take(upstream_rows, index, margin=0))
        return index + 1, total + tf.matmul(points, upstream_points, transpose_a=True)

    zeros = tf.zeros((POSITIONS, POSITIONS, x.shape[-1], upstream.shape[-1]), x.dtype)
    count = tf.shape(x)[0] * bands.number
    total = tf.while_loop(lambda index, total: index < count, one_band, (0, zeros), parallel_iterations=1)[1]
    return tf.einsum("ia,jb,jicf->abcf", KERNEL.astype(x.dtype.name), KERNEL.astype(x.dtype.name), total)


class Bands:
    """Cuts images into bands of equally many rows of tiles.

    Attributes:
        height, width: of the image, pixels.
        rows: of a band, pixels.
        number: of bands in an image.
    """

    def __init__(self, shape: tuple[int, int, int], filters: int) -> None:
        self.height, self.width, channels = shape
        tile_rows = -(-self.height // TILE)
        band_bytes = tile_rows * TILE * self.width * max(channels, filters) * 4
        self.number = max(1, min(tile_rows, round(band_bytes / BAND_BYTES)))
        while tile_rows % self.number:
            self.number += 1
        self.rows = tile_rows // self.number * TILE

    def take(self, rows: tf.Tensor, index: tf.Tensor, margin: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The rows of a band, and which of them are inside its image.

        Args:
            rows: `(batch * height, width, channels)`.
            index: int, bands of the first image first.
            margin: rows taken above and below it.

        Returns:
            `(rows + 2 * margin, width, channels)`, and `(rows + 2 * margin, 1, 1)` of 1 inside and 0 outside.
        """
        image, band = index // self.number, index % self.number
        wanted = band * self.rows + tf.range(-margin, self.rows + margin)
        inside = tf.cast((wanted >= 0) & (wanted < self.height), rows.dtype)
        taken = tf.gather(rows, image * self.height + tf.clip_by_value(wanted, 0, self.height - 1))
        return taken, inside[:, None, None]


def compiled(function: Callable[..., tf.Tensor], *maps: tf.Tensor, **settings: int) -> tf.Tensor:
    """Call a function compiled with XLA, which makes one pass of what would be one of every addition.

    Rows and columns are functions of their own: in one, the sums over rows would be computed again for every column.
    """
    specs = tuple(tf.TensorSpec(map_.shape, map_.dtype) for map_ in maps)
    return _compiled(function, specs, **settings)(*maps)


@cache
def _compiled(
    function: Callable[..., tf.Tensor], specs: tuple[tf.TensorSpec, ...], **settings: int
) -> Callable[..., tf.Tensor]:
    traced = tf.function(partial(function, **settings), jit_compile=True, autograph=False)
    return traced.get_concrete_function(*specs)  # once for each shape, however many layers have it


def input_points(rows: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """`(4 * tile rows + 2, width, channels)` -> `(6 columns, 6 rows, tiles, channels)`."""
    return compiled(input_columns, compiled(input_rows, rows, inside))


def input_rows(rows: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    tiles = rows.shape[0] // TILE
    rows = rows * inside
    return tf.stack(mix(INPUT, [rows[start : start + TILE * tiles : TILE] for start in range(POSITIONS)]))


def input_columns(maps: tf.Tensor) -> tf.Tensor:
    positions, tile_rows, width, channels = maps.shape
    tiles = -(-width // TILE)
    maps = tf.pad(maps, [[0, 0], [0, 0], [1, TILE * tiles + 1 - width], [0, 0]])
    starts = range(POSITIONS)
    points = tf.stack(mix(INPUT, [maps[:, :, start : start + TILE * tiles : TILE] for start in starts]))
    return tf.reshape(points, (POSITIONS, positions, tile_rows * tiles, channels))


def gradient_points(rows: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """`(4 * tile rows, width, filters)` -> `(6 columns, 6 rows, tiles, filters)`: the transpose of `output_pixels`."""
    return compiled(gradient_columns, compiled(gradient_rows, rows, inside))


def gradient_rows(rows: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    rows = rows * inside
    return tf.stack(mix(OUTPUT.T, [rows[start::TILE] for start in range(TILE)]))


def gradient_columns(maps: tf.Tensor) -> tf.Tensor:
    positions, tile_rows, width, filters = maps.shape
    tiles = -(-width // TILE)
    maps = tf.pad(maps, [[0, 0], [0, 0], [0, TILE * tiles - width], [0, 0]])
    points = tf.stack(mix(OUTPUT.T, [maps[:, :, start::TILE] for start in range(TILE)]))
    return tf.reshape(points, (POSITIONS, positions, tile_rows * tiles, filters))


def output_pixels(points: tf.Tensor, width: int) -> tf.Tensor:
    """`(6 columns, 6 rows, tiles, filters)` -> `(4 * tile rows, width, filters)`."""
    return compiled(output_rows, compiled(output_columns, points, tiles=-(-width // TILE)), width=width)


def output_columns(points: tf.Tensor, tiles: int) -> tf.Tensor:
    positions, filters = points.shape[0], points.shape[-1]
    maps = tf.stack(mix(OUTPUT, tf.unstack(points)), axis=2)
    return tf.reshape(maps, (positions, -1, tiles * TILE, filters))


def output_rows(maps: tf.Tensor, width: int) -> tf.Tensor:
    pixels = tf.stack(mix(OUTPUT, tf.unstack(maps)), axis=1)
    return tf.reshape(pixels, (-1, *maps.shape[2:]))[:, :width]


def mix(matrix: np.ndarray, maps: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The sums of the maps weighted with each row of the matrix."""
    return [sum(float(weight) * map_ for weight, map_ in zip(row, maps, strict=True) if weight) for row in matrix]
