"""Data sets of good and defective images: where they come from, how they are split, how they are read.

`open_dataset` in `tfganomaly.data.sources` is the door; `load_images` in `tfganomaly.data.loading` turns
items into pixels. Only `tfganomaly.data.pipeline` needs TensorFlow.
"""
