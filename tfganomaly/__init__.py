"""GANomaly for inspection: data, models, training, evaluation. Importing it loads neither TensorFlow nor numpy."""

from edge_runtime.version import __version__

__all__ = ["__version__"]
