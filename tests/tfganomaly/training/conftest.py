"""A training of seconds, and a finished run that several files look at."""

import pytest

from tfganomaly.training.observer import TrainingObserver

TINY = {
    "generator_width": 4,
    "discriminator_width": 4,
    "latent_size": 8,
    "batch_size": 8,
    "epochs": 3,
    "validation_fraction": 0.2,
    "xla": False,
}


class Recorder(TrainingObserver):
    def __init__(self):
        self.messages, self.progress, self.read = [], [], []

    def message(self, text):
        self.messages.append(text)

    def reading_images(self, done, total):
        self.read.append((done, total))

    def training(self, progress):
        self.progress.append(progress)


@pytest.fixture(scope="session")
def finished(good_folder, tmp_path_factory):
    """A finished run, what it told on the way and its summary."""
    from tfganomaly.training.trainer import train

    recorder = Recorder()
    path = tmp_path_factory.mktemp("runs") / "parts"
    summary = train(str(good_folder), path, "paper", TINY, observer=recorder)
    return path, recorder, summary
