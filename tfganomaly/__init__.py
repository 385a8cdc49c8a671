"""GANomaly for inspection: data, models, training, evaluation. Importing it loads neither TensorFlow nor numpy."""


def __getattr__(name: str) -> str:
    # Late, so that the entry point's finder stands before anything of ours is imported (decision 1).
    if name == "__version__":
        from edge_runtime.version import __version__

        return __version__
    raise AttributeError(f"module 'tfganomaly' has no attribute '{name}'")
