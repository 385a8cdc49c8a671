"""The paper's experiment in one command: `experiment.reproduce` tells the story."""
