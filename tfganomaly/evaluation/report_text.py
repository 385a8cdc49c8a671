"""The report's sentences: what the figures say and mean, for a reader who decides about a production line."""

from __future__ import annotations

from dataclasses import dataclass

from tfganomaly.evaluation.result import EvaluationResult
from tfganomaly.evaluation.wording import NOT_DEFINED, count_of, figure, interval, percent, words

MEANINGS: tuple[tuple[str, str], ...] = (
    (
        "Score",
        "How unlike the good parts of the training an image looks to the model: higher is stranger. It has no unit "
        "and compares only with scores of the same model.",
    ),
    (
        "Threshold",
        "The score above which an image is called anomalous; how it was set stands at the end of this page. Raise it "
        "for fewer false alarms, lower it to miss fewer defects.",
    ),
    (
        "False alarm rate",
        "Of all good parts, the share that would be pulled out for nothing.",
    ),
    (
        "Miss rate",
        "Of all defective parts, the share that would pass as good.",
    ),
    (
        "AUROC",
        "The chance that a random defective part scores above a random good one, whatever the threshold: 1 is "
        "perfect, 0.5 is a coin toss.",
    ),
    (
        "AUPRC, F1",
        "How clean and how complete the list of alarms is, in one number; both depend on how many defective parts "
        "the test set happens to hold.",
    ),
    (
        "Pixel AUROC, AUPRO",
        "How well the heatmap points at the defect. AUPRO counts each defect the same however small it is; chance is "
        "0.15, and pixel AUROC is flattered by the many easy pixels.",
    ),
    (
        "95% interval",
        "Where the true rate may lie, given how few images were tested.",
    ),
)
"""Term and meaning."""

SCORE_MEANINGS: dict[str, str] = {
    "latent_l2": "How far the latent vector of the reconstruction lies from the image's, in squares",
    "latent_l1": "How far the latent vector of the reconstruction lies from the image's, in absolute differences",
    "reconstruction_l1": "How much the reconstruction differs from the image, pixel by pixel",
    "relative_latent_l2": "Latent L2, which counts the more the easier the image was to reconstruct",
    "feature_l2": "How much the reconstruction differs from the image for the discriminator, which only a run has",
    "weighted_sum": "Latent L2, reconstruction L1 and feature L2 together, weighted as in the training's loss",
    "image_statistics": "How unusual brightness and texture are against good images, whatever the network says",
    "√(relative_latent_l2 × image_statistics)": (
        "The geometric mean of relative latent L2 and image statistics: what the network does not know and looks odd"
    ),
}
"""What each score measures; one that is not named here stands without an explanation."""

SHORTCUT_MEANINGS: dict[str, str] = {
    "mean_grey": "How bright the image is",
    "contrast": "How much the image's grey values vary",
    "file_size": "How many bytes the image file has",
    "image_width": "How many pixels wide the original is",
    "image_height": "How many pixels high the original is",
}
"""What each shortcut measures."""


@dataclass(frozen=True)
class Tile:
    """One headline figure.

    Attributes:
        label: What it is.
        value: The figure as text.
        note: What to compare it with, or why it is not defined.
        is_defined: Whether `value` is a figure.
    """

    label: str
    value: str
    note: str
    is_defined: bool


def counts_text(result: EvaluationResult) -> str:
    """Returns how many images of which kind were scored."""
    part = "test part" if result.part == "test" else "held-back part"
    text = f"{part}: {count_of(result.num_normal, 'good image')}"
    if result.num_anomalous:
        text += f" and {result.num_anomalous} anomalous"
    return text + (f", {len(result.unreadable)} unreadable" if result.unreadable else "")


def lead_text(result: EvaluationResult) -> str:
    """Returns the one or two sentences that a hurried reader takes away."""
    at = result.at_threshold
    alarms = f"call {at.false_alarms} of {count_of(result.num_normal, 'good image')} anomalous"
    misses = f"miss {at.misses} of {count_of(result.num_anomalous, 'defective image')}"
    if result.num_normal and result.num_anomalous:
        return (
            f"At the stored threshold this model would {alarms} ({percent(at.false_alarm_rate)}) "
            f"and {misses} ({percent(at.miss_rate)})."
        )
    if result.num_normal:
        return (
            f"At the stored threshold this model would {alarms} ({percent(at.false_alarm_rate)}). There were no "
            "defective images, so how many defects it finds is not known."
        )
    return (
        f"At the stored threshold this model would {misses} ({percent(at.miss_rate)}). There were no good images, so "
        "how many false alarms it gives is not known."
    )


def scores_intro(result: EvaluationResult) -> str:
    """Returns the sentence above the plots of the scores."""
    if result.image_auroc is not None:
        return "Every image gets one score; the threshold turns it into a verdict."
    return (
        "Every image gets one score; the threshold turns it into a verdict. A ROC curve needs both good and anomalous "
        "images, so there is none."
    )


def pictures_intro(result: EvaluationResult) -> str:
    """Returns the sentences above the galleries."""
    text = (
        "The reconstruction is how the model would draw the part if it were good. The heatmap colours what deviates "
        "more than good images do, so a good part should stay a plain photograph. The white outline is where the map "
        "is above its threshold, which happens on a good image as seldom as a false alarm was allowed to."
    )
    return text + (" The blue outline is the defect as the mask gives it." if result.num_masks else "")


def defect_pictures_intro(result: EvaluationResult, most_types: int) -> str:
    """Returns the sentence above the pictures by type of defect."""
    text = "The clearest hits first, then the images of the type that look most like good ones to the model."
    left_out = len(result.defects) - most_types
    return text + (f" {left_out} further types are left out." if left_out > 0 else "")


def headline_tiles(result: EvaluationResult) -> list[Tile]:
    """Returns the headline figures in reading order."""
    at = result.at_threshold
    both = "needs good and anomalous images"
    masks = "needs masks of the defects"
    best = result.best_shortcut
    shortcut = f"; best shortcut {figure(best[1])} ({words(best[0])})" if best else ""
    pairs = (
        ""
        if result.image_auroc is None
        else f"a defective part scores above a good one {100 * result.image_auroc:.0f} times in 100; "
    )
    share = result.num_anomalous / len(result.images)
    return [
        _tile("AUROC", figure(result.image_auroc), f"{pairs}chance 0.5{shortcut}", both),
        _tile(
            "False alarm rate",
            percent(at.false_alarm_rate),
            f"{at.false_alarms} of {result.num_normal} good images{_interval_note(at.false_alarm_interval)}"
            + _requested_note(result.requested_false_alarm_rate),
            "needs good images",
        ),
        _tile(
            "Miss rate",
            percent(at.miss_rate),
            f"{at.misses} of {result.num_anomalous} anomalous images{_interval_note(at.miss_interval)}",
            "needs anomalous images",
        ),
        _tile("F1", figure(at.f1), f"at the threshold; at the best one {figure(result.best_f1)}", both),
        _tile("AUPRC", figure(result.image_auprc), f"chance {share:.3f}", both),
        _tile("Pixel AUROC", figure(result.pixel_auroc), f"chance 0.5; {result.num_masks} masks", masks),
        _tile("AUPRO", figure(result.aupro), f"chance 0.15; {result.num_regions} defect regions", masks),
    ]


def _tile(label: str, value: str, note: str, why_undefined: str) -> Tile:
    is_defined = value != NOT_DEFINED
    return Tile(label, value, note if is_defined else why_undefined, is_defined)


def _interval_note(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"; 95% interval {interval(bounds)}"


def _requested_note(rate: float | None) -> str:
    return "" if rate is None else f"; set for {percent(rate)}"
