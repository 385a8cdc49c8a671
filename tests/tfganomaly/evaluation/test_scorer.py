import numpy as np
import pytest

from edge_runtime.errors import OutputError, TfganomalyError
from edge_runtime.preprocessing import prepare_image, scale_pixels
from edge_runtime.scoring import ModelOutputs, anomaly_maps, anomaly_scores
from tfganomaly.data.items import ImageItem
from tfganomaly.evaluation import scorer as scorer_module
from tfganomaly.evaluation.scorer import score_items


def test_scores_and_maps_are_those_of_the_runtime(parts, scorer):
    scored = score_items(scorer, parts.test[:3])
    for index, item in enumerate(parts.test[:3]):
        pixels = prepare_image(item.source, scorer.preprocessing)[np.newaxis]
        outputs, inputs = scorer.model_outputs(pixels), scale_pixels(pixels)
        assert scored.scores[index] == anomaly_scores(scorer.score_rule, inputs, outputs)[0]
        np.testing.assert_array_equal(scored.maps[index], anomaly_maps(scorer.score_rule, inputs, outputs)[0])


def test_the_batch_size_does_not_change_anything(parts, scorer):
    whole = score_items(scorer, parts.test)
    small = score_items(scorer, parts.test, most_at_once=3)
    np.testing.assert_array_equal(whole.scores, small.scores)
    np.testing.assert_array_equal(np.stack(whole.maps), np.stack(small.maps))
    np.testing.assert_array_equal(np.stack(whole.maps[-2:]), np.stack(list(whole.maps))[-2:])
    assert whole.items == small.items == parts.test


def test_only_one_batch_is_handed_to_the_model_at_once(parts, make_scorer):
    scorer = make_scorer()
    score_items(scorer, parts.test, most_at_once=5)
    assert scorer.largest_batch == 5


def test_labels_sizes_and_progress(parts, scorer):
    seen = []
    scored = score_items(
        scorer, parts.test, lambda done, total: seen.append((done, total)), most_at_once=10, keep_maps=False
    )
    assert scored.labels.tolist() == [0] * 12 + [1] * 14
    assert set(scored.image_sizes) == {(48, 36)}
    assert seen == [(10, 26), (20, 26), (26, 26)]
    assert scored.maps is None


def test_unreadable_images_are_named_and_left_out(parts, scorer, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    items = [parts.test[0], ImageItem("test/good/empty.png", tmp_path / "empty.png"), parts.test[1]]
    scored = score_items(scorer, items, most_at_once=1)
    assert scored.items == (parts.test[0], parts.test[1])
    assert len(scored.scores) == len(scored.maps) == len(scored.shortcuts) == 2
    ((name, message),) = scored.unreadable
    assert name == "test/good/empty.png"
    assert "empty.png" in message


def test_no_readable_image_gives_empty_arrays(scorer, tmp_path):
    scored = score_items(scorer, [ImageItem("gone.png", tmp_path / "gone.png")])
    assert scored.scores.shape == (0,)
    assert len(scored.maps) == 0


def test_arrays_are_scored_like_files(parts, scorer):
    from PIL import Image

    item = parts.test[-1]
    as_array = ImageItem("test/array/0", np.asarray(Image.open(item.source)))
    assert score_items(scorer, [as_array]).scores[0] == score_items(scorer, [item]).scores[0]


def test_a_letterbox_border_is_not_part_of_the_shortcuts(make_scorer):
    picture = np.tile(np.array([[50, 150]], np.uint8), (10, 30))  # 60 x 10
    picture[0] = picture[-1] = 255  # what the border repeats
    stretched = score_items(make_scorer(), [ImageItem("a", picture)]).shortcuts[0]
    letterboxed = score_items(make_scorer(resize_rule="letterbox"), [ImageItem("a", picture)]).shortcuts[0]
    assert letterboxed.mean_grey == pytest.approx(stretched.mean_grey, abs=6)


def test_a_model_that_gives_nan_is_an_error_that_names_model_and_image(parts, make_scorer):
    class Broken(make_scorer):
        def model_outputs(self, pixels):
            outputs = super().model_outputs(pixels)
            return ModelOutputs(outputs.latent, outputs.reconstructed_latent, outputs.reconstruction * np.nan)

    with pytest.raises(TfganomalyError, match=r"runs/blur.*test/good/000\.png.*not a finite number"):
        score_items(Broken(), parts.test)


def test_a_full_temporary_folder_is_one_clear_error(parts, scorer, monkeypatch):
    class FullDisk:
        def seek(self, offset):
            pass

        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(scorer_module.tempfile, "TemporaryFile", lambda **options: FullDisk())
    with pytest.raises(OutputError, match="disk is full"):
        score_items(scorer, parts.test)
