"""Training: `trainer.train` tells the story; `run.load_run` opens what it wrote."""
