"""The figures of a reproduction as flat records, one for each class, seed and score, and their means over seeds.

`results.json` is a list of such records. Every option and figure is a plain value under a name of its own, so the files
of several experiments join into one table by putting their lists one after the other.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.atomic_files import write_text_atomically
from tfganomaly.data.arrays import ArrayCollection
from tfganomaly.errors import RunError
from tfganomaly.evaluation.metrics import image_auprc
from tfganomaly.reproduction.epoch_scores import AUROC_PREFIX, EpochScores
from tfganomaly.training.run_folder import RunFolder

Record = dict[str, Any]

LAST, BEST_ON_TEST = "auroc_last_epoch", "auroc_best_epoch_on_test"
SHOWN = {
    "collection",
    "protocol",
    "abnormal",
    "abnormal_name",
    "seed",
    "epochs",
    "num_train",
    "score",
    "decides",
    LAST,
    BEST_ON_TEST,
}
"""What table and pictures show of a record."""


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of one figure over seeds.

    Attributes:
        mean: Of all.
        deviation: None with one seed.
        count: How many seeds.
    """

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarises at least one value."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def text(self) -> str:
        """As "0.712" or "0.712 ± 0.031"."""
        return f"{self.mean:.3f}" + ("" if self.deviation is None else f" ± {self.deviation:.3f}")


def pair_records(
    run: RunFolder, scores: EpochScores, collection: ArrayCollection, label: int, protocol: str
) -> list[Record]:
    """The records of one finished training, one a score.

    Args:
        run: Its folder.
        scores: What its last epoch said about the test part.
        collection: The data.
        label: The class that is the anomaly.
        protocol: Under which the test part was scored.
    """
    config, manifest, history = run.read_config(), run.read_manifest(), run.read_history()
    options = {**dataclasses.asdict(config.model), **dataclasses.asdict(config.training)}
    machine = manifest.get("machine", {})  # earlier versions did not record it
    redraws = history[-1].get("discriminator_redraws")  # nor this
    del options["score"]  # `score` names the record's own; `decides` says which one the option chose
    shared = {
        "collection": collection.name,
        "abnormal": label,
        "abnormal_name": collection.class_names[label],
        "protocol": protocol,
        **options,
        "num_train": manifest["num_train"],
        "num_validation": manifest["num_validation"],
        "num_test_good": int((scores.labels == 0).sum()),
        "num_test_anomalous": int((scores.labels == 1).sum()),
        **{f"{name}_last_epoch": value for name, value in history[-1].items() if name.endswith("_loss")},
        "discriminator_redraws": None if redraws is None else int(redraws),
        "data_fingerprint": manifest["data_fingerprint"],
        "processor": machine.get("processor"),
        "usable_cores": machine.get("usable_cores"),
        "git_revision": manifest["git_revision"],
        "resumed_with_others": bool(manifest.get("resumed_with")),
        **{f"version_{package}": version for package, version in manifest["versions"].items()},
    }
    records = []
    for name, values in scores.scores.items():
        by_epoch = [epoch[AUROC_PREFIX + name] for epoch in history if AUROC_PREFIX + name in epoch]
        if len(by_epoch) < len(history):  # begun by an earlier version, which did not know this score
            continue
        best = max(range(len(by_epoch)), key=lambda index: by_epoch[index])
        records.append(
            {
                "score": name,
                "decides": name == config.score_rule.formula,
                LAST: by_epoch[-1],
                BEST_ON_TEST: by_epoch[best],
                "best_epoch_on_test": best + 1,
                "auprc_last_epoch": image_auprc(scores.labels, values),
                **shared,
            }
        )
    return records


def spreads(records: Sequence[Record], figure: str) -> dict[tuple[int, str], Spread]:
    """Mean and deviation over seeds by (class, score); `figure` is `LAST` or `BEST_ON_TEST`."""
    values: dict[tuple[int, str], list[float]] = {}
    for record in records:
        values.setdefault((record["abnormal"], record["score"]), []).append(record[figure])
    return {key: Spread.of(found) for key, found in values.items()}


def mean_over_classes(records: Sequence[Record], figure: str) -> dict[str, Spread]:
    """Mean over classes, by score; its deviation is that over seeds of the mean over classes.

    Only seeds that every class has count.
    """
    by_seed: dict[str, dict[int, list[float]]] = {}
    for record in records:
        by_seed.setdefault(record["score"], {}).setdefault(record["seed"], []).append(record[figure])
    classes = len({record["abnormal"] for record in records})
    means: dict[str, Spread] = {}
    for score, seeds in by_seed.items():
        complete = [statistics.fmean(values) for values in seeds.values() if len(values) == classes]
        if complete:
            means[score] = Spread.of(complete)
    return means


def score_names(records: Sequence[Record]) -> list[str]:
    """The scores in the order in which they were measured."""
    return list(dict.fromkeys(record["score"] for record in records))


def class_names(records: Sequence[Record]) -> dict[int, str]:
    """Label to name of the classes, rising."""
    return dict(sorted((record["abnormal"], record["abnormal_name"]) for record in records))


def training_images(records: Sequence[Record]) -> str:
    """How many images were trained on, as "12800" or, where it depends on the class, "45288 to 46240"."""
    counts = [record["num_train"] for record in records]
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def write_records(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes a JSON list, in one step; OutputError when it cannot be written."""
    write_text_atomically(path, json.dumps(records, indent=2, allow_nan=False) + "\n")


def read_records(path: Path) -> list[Record]:
    """Reads what `write_records` wrote; RunError when it is damaged."""
    try:
        records = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunError(f"'{path}' is damaged ({error}); remove its folder to run that class again.") from error
    is_list = isinstance(records, list) and bool(records)
    if not is_list or not all(isinstance(record, dict) and record.keys() >= SHOWN for record in records):
        raise RunError(f"'{path}' is damaged (not a list of records); remove its folder to run that class again.")
    return records
