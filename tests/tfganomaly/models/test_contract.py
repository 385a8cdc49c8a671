"""The contract that every model in the registry obeys."""

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="the train extra is not installed")

from edge_runtime.preprocessing import unscale_pixels  # noqa: E402
from edge_runtime.scoring import ScoreRule, anomaly_scores  # noqa: E402
from tfganomaly.models.catalogue import MODELS  # noqa: E402
from tfganomaly.models.contract import AnomalyModel  # noqa: E402
from tfganomaly.models.registry import create_model  # noqa: E402
from tfganomaly.options import ModelOptions  # noqa: E402
from tfganomaly.score_choice import USUAL_SCORE_RULES  # noqa: E402

TINY = ModelOptions(channels=1, latent_size=8, generator_width=4, discriminator_width=4)


def random_images(count=8, channels=1):
    return np.random.default_rng(0).uniform(-1, 1, (count, 32, 32, channels)).astype(np.float32)


@pytest.fixture(scope="module", params=MODELS)
def trained_model(request):
    keras.utils.set_random_seed(1)
    model = create_model(request.param, TINY)
    model.prepare_training(learning_rate=1e-3, beta_1=0.5, seed=1, xla=False, steps=40)
    pixels = unscale_pixels(random_images())
    (batch,) = model.training_batches(pixels, 8, seed=1, steps_per_epoch=1).take(1)
    arguments = batch if isinstance(batch, tuple) else (batch,)
    model.losses_by_step = []
    for _ in range(40):
        model.reset_metrics()  # else some versions of Keras report the mean since the first step
        losses = model.train_on_batch(*arguments, return_dict=True)
        model.losses_by_step.append({name: float(value) for name, value in losses.items()})
    return model


def test_steps_lower_the_loss(trained_model):
    first, last = trained_model.losses_by_step[0], trained_model.losses_by_step[-1]
    assert last["generator_loss"] < 0.9 * first["generator_loss"]
    assert all(np.isfinite(list(losses.values())).all() for losses in trained_model.losses_by_step)


def test_scores_follow_from_the_outputs_by_the_shared_rule(trained_model):
    images = random_images()
    outputs = trained_model.model_outputs(images)
    assert outputs.latent.shape == outputs.reconstructed_latent.shape
    assert (outputs.latent.ndim, len(outputs.latent), outputs.latent.shape[-1]) == (4, 8, 8)
    assert outputs.reconstruction.shape == images.shape
    assert np.abs(outputs.reconstruction).max() <= 1
    rule = ScoreRule({"latent_l2": 1.0, "reconstruction_l1": 0.5})
    assert np.array_equal(trained_model.score(images, rule), anomaly_scores(rule, images, outputs))
    assert trained_model.score(images).shape == (8,)


def test_a_score_does_not_depend_on_the_batch(trained_model):
    images = random_images()
    alone = np.concatenate([trained_model.score(images[i : i + 1]) for i in range(8)])
    np.testing.assert_allclose(alone, trained_model.score(images), rtol=1e-4)


def test_saved_and_loaded_model_gives_equal_scores(trained_model, tmp_path):
    trained_model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert isinstance(loaded, AnomalyModel)
    assert loaded.options == trained_model.options
    assert np.array_equal(loaded.score(random_images()), trained_model.score(random_images()))


def test_inference_graph_is_flat_and_gives_the_same_outputs(trained_model):
    graph = trained_model.inference_graph()
    assert not [layer.name for layer in graph.layers if isinstance(layer, keras.Model)]
    assert graph.inputs[0].shape[1:] == trained_model.image_shape
    images = random_images()
    outputs = trained_model.model_outputs(images)
    for ours, theirs in zip(
        graph(images, training=False),
        (outputs.latent, outputs.reconstructed_latent, outputs.reconstruction),
        strict=True,
    ):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)


def test_what_the_epoch_is_chosen_by_is_measured_on_held_back_images(trained_model):
    pixels = unscale_pixels(random_images())
    figures = trained_model.evaluate(trained_model.validation_batches(pixels, 8, seed=1), return_dict=True, verbose=0)
    assert np.isfinite(figures[trained_model.monitored_loss.removeprefix("val_")])


def test_the_catalogue_says_of_a_model_what_it_is(trained_model):
    kind = type(trained_model)
    name = next(name for name, traits in MODELS.items() if traits.class_path == f"{kind.__module__}:{kind.__name__}")
    assert trained_model.score_rule == USUAL_SCORE_RULES[name]
    assert (trained_model.model_outputs(random_images()).feature_distance is not None) == MODELS[name].has_discriminator


def test_channels_must_be_decided_before_a_model_is_built():
    with pytest.raises(ValueError, match="channels"):
        create_model("ganomaly", ModelOptions())
