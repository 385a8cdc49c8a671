from dataclasses import replace
from pathlib import Path

from tfganomaly.evaluation.advice import GUIDE_CHAPTER
from tfganomaly.evaluation.evaluate import evaluate
from tfganomaly.evaluation.metrics import OperatingPoint
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


def test_the_summary_says_what_more_false_alarms_would_find_and_the_command_that_sets_it(parts, scorer):
    points = (OperatingPoint(0.05, 1.25, 0, 7, 0.5), OperatingPoint(0.1, 1.0, 1, 14, 1.0))
    lines = summary_lines(replace(evaluate(scorer, parts), operating_points=points))
    table = lines.index(next(line for line in lines if line.startswith("What if I accept more false alarms?")))
    assert lines[table + 1].split() == ["5.0%", "50.0%", "(7", "of", "14)", "0", "of", "12", "1.25"]
    assert lines[table + 2].split() == ["10.0%", "100.0%", "(14", "of", "14)", "1", "of", "12", "1"]
    assert "read off the test images" in lines[table + 3]
    assert lines[table + 4].strip() == "tfganomaly calibrate MODEL GOOD_FOLDER --false-alarm-rate 0.05"
    without = "\n".join(summary_lines(evaluate(scorer, replace(parts, test=parts.test_anomalous))))
    assert "What if" not in without
    assert "tfganomaly calibrate" not in without


def test_where_a_third_of_the_defects_is_missed_the_summary_says_where_to_go_on(parts, scorer):
    result = evaluate(scorer, parts)
    defects = [image for image in result.images if image.item.is_anomalous]

    def text_with(num_misses, num_defects):
        at = replace(result.at_threshold, misses=num_misses)
        return "\n".join(summary_lines(replace(result, at_threshold=at, images=tuple(defects[:num_defects]))))

    assert '"When it misses defects" of docs/guide.md' in text_with(5, 12)
    assert "docs/guide.md" not in text_with(4, 12)
    assert "docs/guide.md" not in text_with(0, 0)


def test_the_chapter_that_the_advice_names_is_in_the_guide():
    guide = Path(__file__).resolve().parents[3] / "docs" / "guide.md"
    assert f"## {GUIDE_CHAPTER}" in guide.read_text("utf-8").splitlines()
