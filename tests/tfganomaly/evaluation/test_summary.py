from dataclasses import replace
from pathlib import Path

from tfganomaly.evaluation.evaluate import evaluate
from tfganomaly.evaluation.summary import summary_lines


def test_the_summary_has_the_headline_the_defects_the_shortcuts_and_the_report(parts, scorer):
    result = evaluate(scorer, parts)
    lines = summary_lines(result, Path("out/report.html"))
    text = "\n".join(lines)
    assert f"image AUROC {result.image_auroc:.3f}" in " ".join(text.split())
    assert f"{result.at_threshold.false_alarms} of 12 good images" in text
    for name in ("dot", "line", "mean grey", "file size"):
        assert any(line.startswith(name) for line in lines)
    assert lines[-1].split() == ["Report", str(Path("out/report.html"))]
    assert all(line == line.rstrip() and "\n" not in line for line in lines)


def test_a_shortcut_that_beats_the_model_is_the_first_warning(parts, scorer):
    result = replace(evaluate(scorer, parts), image_auroc=0.4)
    warnings = [line for line in summary_lines(result) if line.startswith("Warning: ")]
    assert "no evidence that the model sees the defects" in warnings[0]
    assert len(warnings) == 1 + len(result.warnings)


def test_figures_that_are_not_defined_are_said_in_words(parts, scorer):
    text = "\n".join(summary_lines(evaluate(scorer, replace(parts, test=()))))
    assert "not defined" in text
    assert "None" not in text
    assert "needs anomalous images" in text
    assert "shortcut baselines" not in text
