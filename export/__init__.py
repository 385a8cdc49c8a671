"""Part of tfganomaly: turns a trained run into one `.tflite` file and proves that it scores the same."""
