import pytest

from edge_runtime.scoring import WEIGHTED_SUM, ScoreRule
from tfganomaly.errors import OptionError
from tfganomaly.score_choice import choose_score

USUAL = ScoreRule(pooling="max", map_source="latent")


def test_nothing_asked_leaves_the_usual_rule():
    assert choose_score(None, USUAL) is USUAL


@pytest.mark.parametrize(
    ("text", "components", "formula"),
    [
        ("latent_l1", {"latent_l1": 1.0}, "latent_l1"),
        ("weighted_sum", WEIGHTED_SUM, "weighted_sum"),
        (
            "latent_l2=1, reconstruction_l1=0.5",
            {"latent_l2": 1.0, "reconstruction_l1": 0.5},
            "latent_l2 + 0.5 reconstruction_l1",
        ),
    ],
)
def test_a_component_or_a_sum_is_read_and_pooling_and_map_stay(text, components, formula):
    rule = choose_score(text, USUAL)
    assert rule.components == components
    assert rule.formula == formula
    assert (rule.pooling, rule.map_source) == ("max", "latent")


@pytest.mark.parametrize("text", ["guess", "latent_l2=much", "latent_l2=-1", "latent_l2=0", "", "latent_l2=nan"])
def test_what_makes_no_score_is_refused_with_the_flag(text):
    with pytest.raises(OptionError, match="--score"):
        choose_score(text, USUAL)
