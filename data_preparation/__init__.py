"""Scripts that bring data into the canonical layout and check it; none of them imports TensorFlow."""
