"""Ours against the authors' arrangement in PyTorch: same weights, same batch, same scores, losses and step."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="the train extra is not installed")
torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install 'tfganomaly[reference]')")
import keras  # noqa: E402

from benchmarks import pytorch_reference  # noqa: E402
from edge_runtime.scoring import COMPONENTS, ModelOutputs  # noqa: E402
from tfganomaly.models.ganomaly import Ganomaly  # noqa: E402
from tfganomaly.options import ModelOptions  # noqa: E402

PAPER = ModelOptions(channels=1)
OTHER = ModelOptions(
    image_size=64,
    channels=3,
    latent_size=20,
    generator_width=8,
    discriminator_width=12,
    extra_layers=1,
    leaky_relu_slope=0.1,
    adversarial_loss_weight=2.0,
    contextual_loss_weight=10.0,
    latent_loss_weight=3.0,
)
LEARNING_RATE = 2e-4


def both(options, *, xla=False):
    """Our model, and the reference with its weights."""
    keras.utils.set_random_seed(1)
    model = Ganomaly(options)
    model.prepare_training(LEARNING_RATE, beta_1=0.5, seed=0, xla=xla, steps=40)
    reference = pytorch_reference.PytorchGanomaly(options)
    reference.load_weights_of(model)
    return model, reference


def random_images(options, count=16, dtype=np.float32):
    shape = (count, options.image_size, options.image_size, options.channels)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(dtype)


def all_weights(model, reference):
    """(network, ours, theirs) of every trainable weight; running statistics are left out.

    PyTorch's running variance is the unbiased one, and the authors' second pass of the discriminator moves its
    statistics again; neither touches the weights of a step, which goes by the batch's own statistics.
    """
    for ours, theirs in pytorch_reference.network_pairs(model, reference):
        trainable = [name for name, _ in theirs.named_parameters()]
        names = [name for name in theirs.state_dict() if not name.endswith("num_batches_tracked")]
        values = zip(
            names, pytorch_reference.keras_weights_in_torch_layout(ours), reference.weights_of(theirs), strict=True
        )
        yield from ((f"{ours.name} {name}", a, b) for name, a, b in values if name in trainable)


def assert_losses_agree(ours, theirs, tolerance):
    assert set(ours) == {*theirs, "discriminator_redraws"}
    for name, value in theirs.items():
        assert float(ours[name]) == pytest.approx(value, rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize("options", [PAPER, OTHER], ids=["paper", "other"])
def test_scores_of_the_same_trained_weights_agree(options):
    """After some steps, so that no score is a rounding error, with the running statistics that they left."""
    model, reference = both(options)
    images = random_images(options)
    for _ in range(6):
        model.train_on_batch(images)
    reference.load_weights_of(model)
    ours, theirs = model.model_outputs(images), ModelOutputs(**reference.outputs(images))
    for name, component in COMPONENTS.items():
        scores = component(images, theirs, "mean")
        assert scores.min() > 1e-6, name
        np.testing.assert_allclose(component(images, ours, "mean"), scores, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("options", "xla"), [(PAPER, False), (PAPER, True), (OTHER, False)], ids=["paper", "paper-xla", "other"]
)
def test_losses_and_one_step_of_both_networks_agree(options, xla):
    """In float32, as the training runs.

    Adam's first step is as large for a gradient of 1e-8 as for one of 1, so where a gradient is a rounding error its
    sign, and with it the weight, is chance: a few weights in a million, on some processors one in a thousand of a
    small kernel. They are counted and set aside. How many differ at all goes with the number of threads, one in a
    thousand with a single one. The next test takes that away.
    """
    model, reference = both(options, xla=xla)
    images = random_images(options)
    before = {name: value.copy() for name, value, _ in all_weights(model, reference)}
    losses = model.train_on_batch(images, return_dict=True)
    assert_losses_agree(losses, reference.training_step(pytorch_reference.channels_first(images)), tolerance=1e-4)
    differences = []
    for name, ours, theirs in all_weights(model, reference):
        moved = np.linalg.norm(theirs - before[name])
        assert moved > 0, name
        has_turned = np.abs(ours - theirs) > LEARNING_RATE
        assert has_turned.mean() < 2e-3, name
        assert np.linalg.norm((ours - theirs)[~has_turned]) < 0.01 * moved, name
        differences.append(np.abs(ours - theirs).ravel())
    assert np.mean(np.concatenate(differences) > 1e-4 * LEARNING_RATE) < 2e-3
    model.reset_metrics()
    losses = model.train_on_batch(images, return_dict=True)  # with the weights that chance has turned
    assert_losses_agree(losses, reference.training_step(pytorch_reference.channels_first(images)), tolerance=1e-3)


@pytest.fixture
def double_precision():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("options", [PAPER, OTHER], ids=["paper", "other"])
def test_in_double_precision_every_single_weight_agrees(options):
    """To a twentieth of a step; what is left comes from constants that TensorFlow keeps in float32."""
    model, reference = both(options)
    for module in (reference.generator, reference.discriminator):
        module.double()
    reference.load_weights_of(model)
    images = random_images(options, count=8, dtype=np.float64)
    losses = model.train_step(tf.constant(images))
    assert_losses_agree(losses, reference.training_step(pytorch_reference.channels_first(images)), tolerance=1e-7)
    for name, ours, theirs in all_weights(model, reference):
        assert ours.dtype == theirs.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.05 * LEARNING_RATE, err_msg=name)
