from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import OptionError
from edge_runtime.watching.decision import AlarmDecider, AlarmRule

THRESHOLD = 1.0
GOOD, TREMBLING, BAD = 0.5, 0.95, 2.0


def transitions(rule: AlarmRule, scores: list[float], seconds_a_frame: float = 1.0) -> list[str | None]:
    decider = AlarmDecider(rule)
    return [decider.update(score, THRESHOLD, index * seconds_a_frame) for index, score in enumerate(scores)]


def test_an_alarm_needs_n_of_m_anomalous_frames() -> None:
    rule = AlarmRule(alarm_frames=2, window_frames=3, clear_frames=2)
    assert transitions(rule, [BAD, GOOD, GOOD, BAD, GOOD, BAD]) == [None] * 5 + ["raised"]
    assert transitions(rule, [BAD, BAD]) == [None, "raised"]
    assert transitions(AlarmRule(1, 1), [GOOD, BAD]) == [None, "raised"]


def test_calm_frames_in_a_row_clear_it_and_a_trembling_score_does_not() -> None:
    rule = AlarmRule(alarm_frames=1, window_frames=1, clear_frames=2, clear_ratio=0.9)
    assert transitions(rule, [BAD, GOOD, TREMBLING, GOOD, GOOD]) == ["raised", None, None, None, "cleared"]
    assert transitions(AlarmRule(1, 1, 1, 1.0), [BAD, TREMBLING]) == ["raised", "cleared"]


def test_the_clear_threshold_lies_below_the_threshold_whatever_its_sign() -> None:
    rule = AlarmRule(clear_ratio=0.9)
    assert rule.clear_threshold(2.0) == pytest.approx(1.8)
    assert rule.clear_threshold(-2.0) == pytest.approx(-2.2)
    assert rule.clear_threshold(0.0) == 0.0


def test_after_a_clear_the_cool_down_holds_new_alarms_back_but_not_for_ever() -> None:
    rule = AlarmRule(alarm_frames=1, window_frames=1, clear_frames=1, cooldown_seconds=3)
    assert transitions(rule, [BAD, GOOD, BAD, BAD, BAD]) == ["raised", "cleared", None, None, "raised"]


def test_clearing_by_hand_begins_the_cool_down_and_forgets_the_window() -> None:
    decider = AlarmDecider(AlarmRule(alarm_frames=2, window_frames=4, cooldown_seconds=0))
    assert not decider.clear(0)
    decider.update(BAD, THRESHOLD, 0)
    assert decider.update(BAD, THRESHOLD, 1) == "raised"
    assert decider.clear(2)
    assert decider.update(BAD, THRESHOLD, 3) is None
    assert decider.update(BAD, THRESHOLD, 4) == "raised"
    assert decider.raised == 2


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"alarm_frames": 6}, "--alarm-frames"),
        ({"alarm_frames": 0}, "--alarm-frames"),
        ({"clear_frames": 0}, "--clear-frames"),
        ({"clear_ratio": 0}, "--clear-ratio"),
        ({"clear_ratio": 1.1}, "--clear-ratio"),
        ({"cooldown_seconds": float("nan")}, "--cooldown"),
    ],
)
def test_impossible_rules_are_refused(values: dict[str, float], flag: str) -> None:
    with pytest.raises(OptionError, match=flag):
        AlarmRule(**values)


rules = st.integers(1, 6).flatmap(
    lambda window: st.builds(
        AlarmRule,
        alarm_frames=st.integers(1, window),
        window_frames=st.just(window),
        clear_frames=st.integers(1, 5),
        clear_ratio=st.floats(0.1, 1),
        cooldown_seconds=st.floats(0, 20),
    )
)


@settings(max_examples=300, deadline=None)
@given(rule=rules, scores=st.lists(st.floats(0, 2), max_size=80))
def test_whatever_comes_alarms_follow_the_rule(rule: AlarmRule, scores: list[float]) -> None:
    decider = AlarmDecider(rule)
    on, cleared_at, counted_from = False, float("-inf"), 0
    for index, score in enumerate(scores):
        window = scores[max(counted_from, index + 1 - rule.window_frames) : index + 1]
        anomalous = sum(value > THRESHOLD for value in window)
        happened = decider.update(score, THRESHOLD, float(index))
        if not on:
            due = score > THRESHOLD and anomalous >= rule.alarm_frames and index >= cleared_at + rule.cooldown_seconds
            assert happened == ("raised" if due else None)
        else:
            assert happened in (None, "cleared")
            calm = scores[max(0, index + 1 - rule.clear_frames) : index + 1]
            if happened == "cleared":
                assert len(calm) == rule.clear_frames
                assert all(value <= rule.clear_threshold(THRESHOLD) for value in calm)
                cleared_at, counted_from = index, index + 1
        on = decider.state == "on"
        assert on == ((happened == "raised") or (on and happened != "cleared"))
