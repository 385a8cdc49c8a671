"""What a watch is asked for while it runs: another threshold, a cleared alarm, a new model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.artefact import write_artefact
from edge_runtime.errors import CalibrationError
from tests.edge_runtime.conftest import cached_flatbuffer
from tests.edge_runtime.tiny_model import tiny_calibration, tiny_metadata
from tests.edge_runtime.watching.conftest import Watch, bad, good
from tests.edge_runtime.watching.fakes import ListSource, in_background, wait_for


def test_the_threshold_and_the_alarm_can_be_changed_from_another_thread(
    watch: Watch, random: np.random.Generator
) -> None:
    source = ListSource([bad(random)], ends=False)
    session, sink = watch(source, alarm_frames=1, alarm_window=1)
    thread = in_background(session.run)
    wait_for(lambda: len(sink.of("judgement")) == 1)
    session.loop.clear_alarm("mqtt")
    wait_for(lambda: len(sink.of("alarm")) == 2)
    assert sink.of("alarm")[1].reason == "by hand (mqtt)"
    session.loop.set_threshold(1e6, "http")
    wait_for(lambda: session.loop.threshold == 1e6)
    source.push(bad(random))
    wait_for(lambda: len(sink.of("judgement")) == 2)
    assert not sink.of("judgement")[1].is_anomaly
    (event,) = sink.of("threshold")
    assert (event.threshold, event.previous, event.origin) == (1e6, 0.2, "http")
    with pytest.raises(CalibrationError, match="finite"):
        session.loop.set_threshold(float("nan"), "http")
    session.loop.stop("enough")
    thread.join(10)
    assert sink.events[-1].reason == "enough"


def test_a_new_artefact_is_taken_over_between_two_frames(
    watch: Watch, artefact_path: Path, tmp_path: Path, random: np.random.Generator
) -> None:
    source = ListSource([good(random)], ends=False)
    session, sink = watch(source)
    thread = in_background(session.run)
    wait_for(lambda: len(sink.of("judgement")) == 1)
    new = tmp_path / "new.tflite"
    write_artefact(new, cached_flatbuffer(16, 1), tiny_metadata(16, calibration=tiny_calibration(threshold=0.33)))
    new.rename(artefact_path)
    wait_for(lambda: len(sink.of("model")) == 1)
    source.push(good(random))
    wait_for(lambda: len(sink.of("judgement")) == 2)
    before, after = sink.of("judgement")
    assert after.model_sha256 != before.model_sha256
    assert after.threshold == 0.33
    assert [(event.threshold, event.previous, event.origin) for event in sink.of("threshold")] == [(0.33, 0.2, "model")]
    session.loop.stop("enough")
    thread.join(10)


def test_a_broken_artefact_is_refused_and_the_old_one_goes_on(
    watch: Watch, artefact_path: Path, random: np.random.Generator
) -> None:
    sound = artefact_path.read_bytes()
    source = ListSource([good(random)], ends=False)
    session, sink = watch(source)
    thread = in_background(session.run)
    wait_for(lambda: len(sink.of("judgement")) == 1)
    artefact_path.write_bytes(sound[: len(sound) // 2])
    wait_for(lambda: len(sink.of("health")) == 1)
    health = sink.of("health")[0].health
    assert (health.component, health.state) == ("model", "degraded")
    assert "refused, the former one goes on" in health.message
    source.push(good(random))
    wait_for(lambda: len(sink.of("judgement")) == 2)
    assert sink.of("judgement")[1].model_sha256 == sink.of("judgement")[0].model_sha256
    artefact_path.write_bytes(sound)
    wait_for(lambda: len(sink.of("health")) == 2)
    assert sink.of("health")[1].health.state == "ok"
    session.loop.stop("enough")
    thread.join(10)
