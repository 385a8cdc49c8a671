"""Evaluation: scores of labelled images, metrics, shortcut baselines and the HTML report.

Works on anything that is a `Scorer` (`tfganomaly.evaluation.scorer`): a trained run and an exported artefact alike.
It needs no TensorFlow; scikit-learn, matplotlib and Jinja2 come with the `train` extra and are imported by the
modules that use them, so nothing is imported here.
"""
