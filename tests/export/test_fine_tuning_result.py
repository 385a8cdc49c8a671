"""What an export says of its fine-tuning."""

from __future__ import annotations

import math

import pytest

from export.fine_tuning_result import Agreement, FineTuningResult

CALIBRATED = Agreement(disagreement=0.01, good_shift=0.02, disturbed_shift=0.01)
TUNED = Agreement(disagreement=0.0025, good_shift=math.log(0.95), disturbed_shift=math.log(1.02))


def test_the_objective_weighs_how_high_good_images_score() -> None:
    assert TUNED.objective(0.0) == 0.005
    assert TUNED.objective(0.1) == pytest.approx(0.005 + 0.1 * math.log(0.95))


def test_what_the_kept_step_has_done_is_said() -> None:
    result = FineTuningResult({0: CALIBRATED, 200: Agreement(0.04, 0.0, 0.0), 400: TUNED}, best_step=400)
    assert result.text() == (
        "step 400 of 400 is kept: scores 5.0% off the run's, 10.0% without; on average good images score 5.0% lower, "
        "disturbed ones 2.0% higher"
    )
    assert result.summary() == {"fine_tuning_steps": 400, "best_step": 400}


def test_steps_that_served_nothing_are_said() -> None:
    result = FineTuningResult({0: CALIBRATED, 400: Agreement(0.0225, 0.0, 0.0)}, best_step=0)
    assert "none of 400 steps served the scores better than the choice of ranges alone (10.0% off)" in result.text()


def test_without_steps_there_is_nothing_to_say() -> None:
    assert FineTuningResult({0: CALIBRATED}, best_step=0).text() == ""


def test_each_check_is_in_the_json() -> None:
    listed = FineTuningResult({0: CALIBRATED, 400: TUNED}, best_step=400).to_list()
    assert listed[0] == {"step": 0, "disagreement": 0.01, "good_shift": 0.02, "disturbed_shift": 0.01}
    assert listed[1]["good_shift"] == pytest.approx(math.log(0.95), rel=1e-5)
