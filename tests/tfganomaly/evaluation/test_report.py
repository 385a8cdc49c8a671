import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from edge_runtime.calibrating.calibrate import calibrate_with_defects, measure_map_range
from edge_runtime.errors import OutputError
from edge_runtime.outline import FOUND_COLOUR, TRUE_COLOUR
from tfganomaly.data.items import ImageItem
from tfganomaly.evaluation.evaluate import evaluate
from tfganomaly.evaluation.gallery import build_gallery, choose_images, choose_images_by_defect
from tfganomaly.evaluation.report import render_report, write_report
from tfganomaly.evaluation.report_text import SCORE_MEANINGS, SHORTCUT_MEANINGS, headline_tiles
from tfganomaly.evaluation.scorer import score_items

VOID_TAGS = {"meta", "img", "source", "br", "link", "input"}


class Page(HTMLParser):
    """Collects tags and visible text, and checks that every tag is closed by its own end tag."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts, self.sources = [], [], [], []
        self.attributes = []
        self.feed(html)
        assert self.open == []
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        self.sources += [value for name, value in attributes if name in ("src", "srcset", "href")]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


@pytest.fixture(scope="module")
def result(parts, scorer):
    return evaluate(scorer, parts)


def test_the_report_folder_holds_page_metrics_and_plots(result, scorer, tmp_path):
    report = write_report(tmp_path / "a" / "report", result, scorer)
    names = sorted(str(path.relative_to(tmp_path / "a" / "report")) for path in report.parent.rglob("*.*"))
    assert names == [
        "metrics.json",
        "plots/per_defect.png",
        "plots/roc.png",
        "plots/score_histogram.png",
        "report.html",
    ]
    assert json.loads((report.parent / "metrics.json").read_text("utf-8")) == result.to_dict()
    # Twice into the same folder is the usual case.
    assert write_report(report.parent, result, scorer) == report


def test_the_page_is_self_contained_and_small(result, scorer):
    html = render_report(result, scorer)
    page = Page(html)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "url(" not in html
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    assert len(html) < 2_000_000


def test_the_page_says_what_was_measured_and_what_it_means(result, scorer):
    text = Page(render_report(result, scorer)).text
    assert f"{result.image_auroc:.3f}" in text
    assert f"{result.aupro:.3f}" in text
    assert f"call {result.at_threshold.false_alarms} of 12 good images anomalous" in text
    assert "share that would be pulled out for nothing" in text
    for name in ("Mean grey", "Contrast", "File size", "Image width", "Image height"):
        assert name in text
    assert "Only 12 good and 14 anomalous images were tested" in text


def test_a_shortcut_that_beats_the_model_is_a_visible_warning(result, scorer):
    assert "A shortcut does as well" not in Page(render_report(replace(result, image_auroc=1.1), scorer)).text
    page = Page(render_report(replace(result, image_auroc=0.4), scorer))
    assert "A shortcut does as well as this model" in page.text
    assert "no evidence that the model sees the defects" in page.text


def test_figures_that_are_not_defined_are_said_in_words(parts, scorer):
    plain = evaluate(scorer, replace(parts, test=()))
    page = Page(render_report(plain, scorer))
    assert "not defined" in page.text
    assert "None" not in page.text
    assert "nan" not in page.text.lower().split()
    assert "a baseline needs both good and anomalous images" in page.text
    assert "how many defects it finds is not known" in page.text
    tiles = {tile.label: tile for tile in headline_tiles(plain)}
    assert tiles["AUROC"].note == "needs good and anomalous images"
    assert tiles["AUPRO"].note == "needs masks of the defects"
    assert tiles["False alarm rate"].is_defined
    only_defects = evaluate(scorer, replace(parts, test=parts.test_anomalous))
    assert "how many false alarms it gives is not known" in Page(render_report(only_defects, scorer)).text


def test_names_from_the_disk_cannot_inject_markup(parts, scorer):
    evil = "<script>alert(1)</script>"
    items = tuple(
        replace(item, name=f"{evil}/{index}", defect=evil if item.is_anomalous else "good")
        for index, item in enumerate(parts.test)
    )
    result = evaluate(scorer, replace(parts, name=evil, test=items))
    result = replace(result, unreadable=((evil, evil),), warnings=(evil,))
    html = render_report(result, scorer)
    assert "<script" not in html
    assert evil in Page(html).text


def test_unreadable_images_are_listed(result, scorer):
    page = Page(render_report(replace(result, unreadable=(("test/x.png", "is empty"),)), scorer))
    assert "Images that could not be read" in page.text
    assert "test/x.png : is empty" in page.text


def test_cards_show_input_reconstruction_and_heatmap(result, scorer, parts, make_scorer):
    html = render_report(result, scorer, images_per_section=1)
    captions = re.findall(r"<figcaption>(\w+)</figcaption>", html)
    assert captions[:3] == ["input", "reconstruction", "heatmap"]
    latent_only = make_scorer(with_reconstruction=False).calibrated_on(parts.validation)
    html = render_report(evaluate(latent_only, parts), latent_only, images_per_section=1)
    assert re.findall(r"<figcaption>(\w+)</figcaption>", html)[:2] == ["input", "heatmap"]


@pytest.mark.parametrize(("brightness", "spread"), [(60, 12), (190, 30), (120, 2)])
def test_a_reconstruction_has_the_brightness_of_its_input(brightness, spread, parts, make_scorer):
    scorer = make_scorer()
    scorer.preprocessing = replace(scorer.preprocessing, contrast_rule="normalised")
    scorer.calibrated_on(parts.validation)
    pixels = np.full((64, 64), brightness - spread, np.uint8)
    pixels[:, 32:] = brightness + spread
    result = evaluate(scorer, replace(parts, test=(ImageItem("part.png", pixels),)))
    (section, *_) = build_gallery(choose_images(result, 1), result, scorer)
    drawn, reconstructed = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(panel.data_uri.partition(",")[2])))).astype(float)
        for panel in section.cards[0].panels[:2]
    )
    assert reconstructed.mean() == pytest.approx(drawn.mean(), abs=2)
    # The blur of the reconstruction ends before the quarter at the edge; JPEG and rounding take a grey level or two.
    assert reconstructed[:, -20:].mean() - reconstructed[:, :20].mean() == pytest.approx(2 * spread, abs=3)


def test_galleries_are_ordered_by_score(result):
    choices = {choice.title: [image.score for image in choice.images] for choice in choose_images(result, 3)}
    found = [image.score for image in result.images if image.item.is_anomalous and image.is_called_anomalous]
    assert choices["Defects found"] == sorted(found, reverse=True)[:3]
    good = [image.score for image in result.images if not image.item.is_anomalous]
    assert choices["Calmest good images"] == sorted(good)[:3]


def test_galleries_show_the_closest_calls_when_nothing_went_wrong(result):
    images = tuple(replace(image, is_called_anomalous=image.item.is_anomalous) for image in result.images)
    choices = {choice.title: choice for choice in choose_images(replace(result, images=images), 2)}
    assert "No defect was missed" in choices["Defects closest to being missed"].explanation
    assert "There was no false alarm" in choices["Good images closest to a false alarm"].explanation
    assert "Defects missed" not in choices
    turned = tuple(replace(image, is_called_anomalous=not image.item.is_anomalous) for image in result.images)
    titles = [choice.title for choice in choose_images(replace(result, images=turned), 2)]
    assert titles == ["Defects missed", "False alarms"]


def test_tiny_colour_arrays_are_drawn(make_scorer):
    generator = np.random.default_rng(0)
    items = tuple(
        ImageItem(f"test/{index}", generator.integers(0, 255, (28, 28, 3), dtype=np.uint8), index > 3, "dot")
        for index in range(8)
    )
    scorer = make_scorer(channels=3, resize_rule="crop")
    from tfganomaly.data.items import InspectionDataset

    dataset = InspectionDataset("arrays", "mnist:8", (), items[:4], items)
    result = evaluate(scorer.calibrated_on(items[:4]), dataset)
    assert "not measurable" in Page(render_report(result, scorer)).text


def test_a_report_that_cannot_be_written_is_one_clear_error(result, scorer, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        write_report(tmp_path / "file", result, scorer)


def test_the_scores_stand_side_by_side_with_the_deciding_one_first(result, scorer):
    text = Page(render_report(result, scorer)).text
    assert "Scores side by side" in text
    assert text.index("Reconstruction L1 decides") < text.index("Latent L2")
    assert f"{result.score_aurocs['latent_l1']:.3f}" in text
    only_one = replace(result, score_aurocs={"reconstruction_l1": result.image_auroc})
    assert "Scores side by side" not in Page(render_report(only_one, scorer)).text
    summed = replace(result, deciding_score="latent_l2 + 0.5 reconstruction_l1")
    assert "Latent L2 + 0.5 reconstruction L1 decides" in Page(render_report(summed, scorer)).text


def test_each_type_of_defect_shows_its_clearest_and_its_faintest_images(result, scorer):
    choices = {choice.title: choice for choice in choose_images_by_defect(result, 2)}
    assert list(choices) == ["dot", "line"]
    scores = sorted((image.score for image in result.images if image.item.defect == "dot"), reverse=True)
    assert [image.score for image in choices["dot"].images] == scores[:2] + scores[-2:]
    found = 8 - result.defects["dot"].misses
    assert choices["dot"].explanation == f"{found} of 8 found; the 2 with the highest and the 2 with the lowest scores."
    few = choose_images_by_defect(result, 50)
    assert [len(choice.images) for choice in few] == [8, 6]  # each once
    assert "Pictures by type of defect" in Page(render_report(result, scorer)).text
    one_type = replace(result, defects={"dot": result.defects["dot"]})
    assert choose_images_by_defect(one_type, 2) == []
    assert "Pictures by type of defect" not in Page(render_report(one_type, scorer)).text


def test_the_report_says_what_the_threshold_promises(result, scorer):
    text = Page(render_report(result, scorer)).text
    assert scorer.calibration.promise in text
    assert "set by hand" in Page(render_report(replace(result, threshold=9.0), scorer)).text


def test_map_and_mask_are_outlined_in_colours_of_their_own(result, scorer, monkeypatch):
    colours = []

    def remember(picture, region, colour=FOUND_COLOUR):
        assert region.shape == (picture.height, picture.width)
        colours.append(colour)
        return picture

    monkeypatch.setattr("tfganomaly.evaluation.gallery.draw_outline", remember)
    monkeypatch.setattr("edge_runtime.heatmap.draw_outline", remember)
    found = [choice for choice in choose_images(result, 1) if choice.title == "Defects found"]
    build_gallery(found, result, scorer)
    assert colours == [FOUND_COLOUR, TRUE_COLOUR]


def test_the_report_says_what_more_false_alarms_would_find(result, scorer):
    (point,) = result.operating_points  # of 12 good images, one is more than 5 per cent
    page = Page(render_report(result, scorer, images_per_section=1))
    _, _, section = page.text.partition("What if I accept more false alarms?")
    section, _, _ = section.partition("Shortcut baselines")
    assert "read off the test images" in section
    assert "tfganomaly calibrate MODEL GOOD_FOLDER --false-alarm-rate 0.05" in section
    row = f"10.0% {100 * point.found_rate:.1f}% {point.found} of 14 {point.false_alarms} of 12 {point.threshold:.4g}"
    assert row in section
    assert "What if" not in Page(render_report(replace(result, operating_points=()), scorer, images_per_section=1)).text


def test_where_most_defects_are_missed_the_report_says_where_to_go_on(result, scorer):
    blind = replace(result, at_threshold=replace(result.at_threshold, misses=14))
    assert '"When it misses defects" of docs/guide.md' in Page(render_report(blind, scorer, images_per_section=1)).text
    keen = replace(result, at_threshold=replace(result.at_threshold, misses=0))
    assert "docs/guide.md" not in Page(render_report(keen, scorer, images_per_section=1)).text


def test_a_threshold_that_defects_decided_is_not_said_to_be_from_good_images_alone(parts, make_scorer):
    scorer, good = make_scorer(), score_items(make_scorer(), parts.validation)
    defective = score_items(scorer, parts.test_anomalous)
    scorer.calibration = calibrate_with_defects(good.scores, defective.scores, measure_map_range(good.maps, 0.1))
    scorer.threshold = scorer.calibration.threshold
    text = Page(render_report(evaluate(scorer, parts), scorer, images_per_section=1)).text
    assert "the best trade between 20 good and 14 defective images" in text
    assert "good images alone" not in text


@pytest.mark.parametrize("meaning", [*SCORE_MEANINGS.values(), *SHORTCUT_MEANINGS.values()])
def test_a_meaning_can_stand_first_in_its_table(meaning):
    assert not {"it", "its", "their", "them", "these", "same"} & set(re.findall(r"\w+", meaning.lower()))


def test_a_screen_reader_gets_headers_scrollable_tables_and_plots_in_other_words_than_the_caption(result, scorer):
    html = render_report(result, scorer, images_per_section=1)
    page = Page(html)
    headers = [attributes for tag, attributes in page.attributes if tag == "th"]
    assert headers
    assert all(attributes.get("scope") == "col" for attributes in headers)
    wrappers = [attributes for _, attributes in page.attributes if "scroll" in attributes.get("class", "").split()]
    assert len(wrappers) == page.tags.count("table") == 4
    assert all(attributes["tabindex"] == "0" and attributes["aria-label"] for attributes in wrappers)
    plots = re.findall(r'<img src="[^"]+" alt="([^"]*)"[^>]*>\s*</picture>\s*<figcaption>([^<]*)</figcaption>', html)
    assert len(plots) == 3
    assert all(alt and alt not in caption and caption not in alt for alt, caption in plots)
