"""Run-length texts: known values, round trips in NumPy and TensorFlow, and every kind of damage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from utils.base import rle
from utils.base.errors import UserError

# 2 rows, 3 columns; down the columns: 0 1 | 1 1 | 0 1
MASK = np.array([[0, 1, 0], [1, 1, 1]], np.uint8)
MASKS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1))
ORDERS = pytest.mark.parametrize("order", rle.ORDERS)


def test_known_values():
    assert rle.encode(MASK) == "2 3 6 1"
    assert rle.encode(MASK, "row") == "2 1 4 3"
    np.testing.assert_array_equal(rle.decode("2 3 6 1", 2, 3), MASK)
    np.testing.assert_array_equal(rle.decode("4 3 2 1", 2, 3, "row"), MASK)  # in any order
    np.testing.assert_array_equal(rle.decode("2 1 3 2 6 1", 2, 3), MASK)  # runs may touch
    assert rle.encode(MASK * 255) == rle.encode(MASK > 0) == "2 3 6 1"


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (4, 9)])
@ORDERS
def test_empty_full_and_single_pixel(shape, order):
    assert rle.encode(np.zeros(shape), order) == ""
    assert rle.encode(np.ones(shape), order) == f"1 {shape[0] * shape[1]}"
    single = np.zeros(shape, np.uint8)
    single[-1, -1] = 1
    assert rle.encode(single, order) == f"{single.size} 1"
    for mask in (np.zeros(shape), np.ones(shape), single):
        np.testing.assert_array_equal(rle.decode(rle.encode(mask, order), *shape, order), mask)


@pytest.mark.parametrize("text", ["", "  ", "-1", " -1\n", None])
def test_texts_without_runs(text):
    assert not rle.decode(text, 3, 4).any()


@given(MASKS, st.sampled_from(rle.ORDERS))
@settings(deadline=None)
def test_round_trip(mask, order):
    decoded = rle.decode(rle.encode(mask, order), *mask.shape, order)
    assert decoded.dtype == np.uint8 and decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, mask)


@given(MASKS, st.sampled_from(rle.ORDERS))
@settings(deadline=None)
def test_runs_are_those_a_loop_finds(mask, order):
    flat = mask.ravel(order="C" if order == "row" else "F").tolist()
    runs, previous = [], 0
    for position, value in enumerate(flat, start=1):
        if value and not previous:
            runs += [position, 0]
        if value:
            runs[-1] += 1
        previous = value
    assert rle.encode(mask, order) == " ".join(map(str, runs))


def test_many_runs_take_the_other_way():
    mask = np.indices((70, 60)).sum(axis=0) % 2  # 2,100 single pixels
    assert len(rle.parse(rle.encode(mask), mask.size)) > 1000
    for order in rle.ORDERS:
        np.testing.assert_array_equal(rle.decode(rle.encode(mask, order), 70, 60, order), mask)


def test_later_texts_lie_on_top():
    runs = [rle.parse(text, 6) for text in ("1 4", "3 2")]
    assert rle.paint(runs, 1, 6, values=[1, 2]).tolist() == [[1, 1, 2, 2, 0, 0]]


@ORDERS
def test_stack_of_classes(order):
    stack = np.random.default_rng(0).integers(0, 2, (5, 7, 4))
    stack[:, :, 2] = 0
    texts = rle.encode_classes(stack, order)
    assert len(texts) == 4 and texts[2] == ""
    np.testing.assert_array_equal(rle.decode_classes(texts, 5, 7, order), stack)
    assert rle.decode_classes([], 5, 7).shape == (5, 7, 0)


DAMAGED = {
    "1 2 3": "has 3 numbers",
    "0 2": "begin with 1",
    "3 0": "begin with 1",
    "2 -1": "begin with 1",
    "13 1": "outside the image of 12 pixels",
    "11 3": "the run 11 3 lies outside",
    "9223372036854775807 2": "outside",
    "99999999999999999999 2": "no whole number",
    "1 3 3 2": "the run 3 2 overlaps",
    "7 2 1 9": "overlaps",
    "4 2 4 2": "overlaps",
    "1 a": "no whole number",
    "1.5 2": "no whole number",
}


@pytest.mark.parametrize("text", DAMAGED)
def test_damage_is_named(text):
    with pytest.raises(UserError, match=f"row 7 of x.csv.*{DAMAGED[text]}"):
        rle.decode(text, 3, 4, name="row 7 of x.csv")


def test_other_shapes_and_orders_are_refused():
    with pytest.raises(UserError, match="shape"):
        rle.encode(np.zeros((2, 2, 1)))
    with pytest.raises(UserError, match="shape"):
        rle.encode_classes(np.zeros((2, 2)))
    with pytest.raises(UserError, match="order=diagonal"):
        rle.encode(MASK, "diagonal")


@pytest.fixture(scope="module")
def graph():
    """The TensorFlow functions compiled once for any size: `graph[name, order]`."""
    import tensorflow as tf

    compiled = {}
    for order in rle.ORDERS:
        compiled["encode", order] = tf.function(
            lambda mask, order=order: rle.encode_tf(mask, order)
        ).get_concrete_function(tf.TensorSpec([None, None], tf.uint8))
        compiled["decode", order] = tf.function(
            lambda text, height, width, order=order: rle.decode_tf(text, height, width, order)
        ).get_concrete_function(tf.TensorSpec([], tf.string), *[tf.TensorSpec([], tf.int32)] * 2)
    return compiled


def test_tensorflow_agrees_with_numpy(graph):
    import tensorflow as tf

    @given(MASKS, st.sampled_from(rle.ORDERS))
    @settings(deadline=None, max_examples=60)
    def agree(mask, order):
        text = graph["encode", order](tf.constant(mask)).numpy().decode()
        assert text == rle.encode(mask, order)
        sizes = [tf.constant(size) for size in mask.shape]
        decoded = graph["decode", order](tf.constant(text), *sizes).numpy()
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, mask)

    agree()
    for text in (" -1 ", ""):
        assert not graph["decode", "row"](tf.constant(text), tf.constant(3), tf.constant(4)).numpy().any()


def test_tensorflow_stack_of_classes():
    import tensorflow as tf

    stack = np.random.default_rng(1).integers(0, 2, (4, 6, 3)).astype(np.uint8)
    stack[:, :, 0] = 0
    for order in rle.ORDERS:
        texts = tf.function(lambda masks, order=order: rle.encode_classes_tf(masks, order))(stack)
        assert [text.decode() for text in texts.numpy()] == rle.encode_classes(stack, order)
        decode = tf.function(lambda texts, order=order: rle.decode_classes_tf(texts, 4, 6, order))
        np.testing.assert_array_equal(decode(texts).numpy(), stack)


@pytest.mark.parametrize("text", ["1 2 3", "0 2", "13 1", "11 3", "1 3 3 2", "1 a"])
def test_tensorflow_refuses_damage(graph, text):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError):
        graph["decode", "column"](tf.constant(text), tf.constant(3), tf.constant(4))
