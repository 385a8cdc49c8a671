import dataclasses

import pytest

from tfganomaly.errors import OptionError
from tfganomaly.models.catalogue import MODELS
from tfganomaly.options import RECIPES, ModelOptions, TrainingOptions, resolve_options


def test_defaults_are_those_of_the_paper():
    training, model = resolve_options("paper", {})
    assert (model.image_size, model.latent_size, model.generator_width) == (32, 100, 64)
    weights = (model.adversarial_loss_weight, model.contextual_loss_weight, model.latent_loss_weight)
    assert weights == (1.0, 50.0, 1.0)
    assert (training.epochs, training.batch_size, training.learning_rate, training.beta_1) == (15, 64, 2e-4, 0.5)


def test_given_values_override_and_none_does_not():
    training, model = resolve_options("paper", {"epochs": 3, "image_size": None, "generator_width": 8})
    assert (training.epochs, model.image_size, model.generator_width) == (3, 32, 8)


def test_the_small_recipe_is_the_paper_s_but_for_its_widths():
    training, model = resolve_options("paper-small", {})
    assert (model.generator_width, model.discriminator_width) == (16, 16)
    assert (model.image_size, model.latent_size, training.model) == (32, 100, "ganomaly")


@pytest.mark.parametrize("size", [48, 16, 0, 33])
def test_an_image_size_that_is_no_multiple_of_32_is_refused(size):
    with pytest.raises(OptionError, match="--image-size"):
        ModelOptions(image_size=size)


def test_the_papers_model_takes_powers_of_two_only_and_says_which_model_takes_more():
    with pytest.raises(OptionError, match=r"--image-size is 96; the model ganomaly .*power of two") as error:
        resolve_options("paper", {"image_size": 96})
    assert "the model window_ganomaly (recipe inspection)" in str(error.value)
    assert resolve_options("paper", {"image_size": 128})[1].image_size == 128
    assert resolve_options("inspection", {"image_size": 96})[1].image_size == 96


@pytest.mark.parametrize(
    ("name", "value"),
    [("channels", 2), ("latent_size", 0), ("generator_width", 7), ("latent_loss_weight", -1.0), ("extra_layers", 1.5)],
)
def test_an_impossible_model_option_is_refused_with_its_flag(name, value):
    with pytest.raises(OptionError, match="--" + name.replace("_", "-")):
        ModelOptions(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("validation_fraction", 0.9), ("false_alarm_rate", 0.0), ("resize_rule", "squash"), ("xla", 1)],
)
def test_an_impossible_training_option_is_refused_with_its_flag(name, value):
    with pytest.raises(OptionError, match="--" + name.replace("_", "-")):
        TrainingOptions(**{name: value})


def test_an_unknown_option_or_recipe_is_refused():
    with pytest.raises(OptionError, match="colour"):
        resolve_options("paper", {"colour": 1})
    with pytest.raises(OptionError, match="--recipe"):
        resolve_options("magic", {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("adversarial_loss_weight", 2), ("discriminator_width", 2), ("extra_layers", 2), ("leaky_relu_slope", 0.0)],
)
def test_an_option_that_the_recipe_s_model_has_no_part_for_is_refused(name, value):
    with pytest.raises(OptionError, match=f"--{name.replace('_', '-')} has no effect"):
        resolve_options("inspection", {name: value})
    resolve_options("paper", {name: value})


def test_every_option_says_what_it_does_and_names_are_unique():
    fields = [*dataclasses.fields(ModelOptions), *dataclasses.fields(TrainingOptions)]
    assert all(len(field.metadata["help"]) > 10 for field in fields)
    assert len({field.name for field in fields}) == len(fields)


def test_what_the_catalogue_says_of_options_names_real_ones():
    model_options = {field.name for field in dataclasses.fields(ModelOptions)}
    offered = {field.name: field.metadata["choices"] for field in dataclasses.fields(TrainingOptions)}
    assert offered["model"] == tuple(MODELS)
    assert offered["recipe"] == tuple(RECIPES)
    for traits in MODELS.values():
        assert traits.without_effect <= model_options
        assert traits.needed_contrast_rule in (None, *offered["contrast_rule"])


def test_the_rules_on_offer_are_those_that_preprocessing_knows():
    # Written out in the options, because --help must not wait for numpy.
    from edge_runtime.preprocessing import CONTRAST_RULES, RESIZE_RULES

    offered = {field.name: field.metadata["choices"] for field in dataclasses.fields(TrainingOptions)}
    assert offered["resize_rule"] == RESIZE_RULES
    assert offered["contrast_rule"] == CONTRAST_RULES


@pytest.mark.parametrize(
    ("recipe", "given"),
    [("inspection", {"contrast_rule": "as_is"}), ("paper", {"model": "window_ganomaly"})],
)
def test_a_model_that_wants_images_of_the_same_mean_and_spread_says_so_with_the_recipe_in_question(recipe, given):
    with pytest.raises(OptionError, match="--contrast-rule is as_is; the model window_ganomaly") as error:
        resolve_options(recipe, given)
    assert f"the recipe {recipe}" in str(error.value)
    assert "Give that, or take the model ganomaly (recipe paper or paper-small)." in str(error.value)
    resolve_options(recipe, {**given, "contrast_rule": "fitted"})
    resolve_options("paper", {"contrast_rule": "as_is"})


def test_a_seed_that_numpy_does_not_take_is_refused_with_its_bound():
    assert TrainingOptions(seed=2**32 - 1).seed == 2**32 - 1
    with pytest.raises(OptionError, match=r"--seed is 20261126120000; expected a number from 0 to 4294967295"):
        TrainingOptions(seed=20261126120000)
