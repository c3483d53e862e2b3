"""Prepared TFDS data sets, read without TensorFlow."""
