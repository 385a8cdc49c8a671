"""Part of tfganomaly: models on an Edge TPU, and what it runs of them."""
