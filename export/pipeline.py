"""From a trained run to an artefact that is proven to score as the run does: the story of `tfganomaly export`."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.artefact import Artefact, ArtefactMetadata, write_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.preprocessing import scale_pixels
from export.edgetpu_compiler import compiled_path, find_compiler
from export.errors import ExportError, ParityError
from export.options import ExportOptions
from export.output_places import ARTEFACT_SUFFIX, OutputPlaces, free_places, write_together
from export.result import ExportResult
from tfganomaly.batch_sizes import images_at_once
from tfganomaly.data.sources import canonical_source
from tfganomaly.extras import require_extra
from tfganomaly.quiet_tensorflow import import_quietly
from tfganomaly.training.provenance import installed_versions
from tfganomaly.training.run_folder import RunFolder

if TYPE_CHECKING:
    from export.building import BuiltModel
    from export.edgetpu_target import EdgeTpuTarget
    from export.images import ExportImages
    from export.lowering import LoweredGraph
    from export.parity import ParityReport, ScoredOutputs
    from export.threshold import ThresholdTransfer
    from tfganomaly.training.run import TrainedRun

Progress = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`; stages come one after the other."""

_LOWERING_CHECK_IMAGES = 32


def export_run(
    run: TrainedRun | Path | str,
    output_path: Path | str,
    options: ExportOptions | None = None,
    *,
    data_source: str | None = None,
    archive: Path | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Exports a run. The run is only read; an earlier artefact is replaced only by one that passed the gate.

    Args:
        run: A run whose training is finished, or its folder.
        output_path: The `.tflite` file to write. The parity report is written beside it, that of a file which was
            refused under a name of its own.
        options: How to export.
        data_source: Where the run's data is now, if it has moved.
        archive: The same of the local file or folder of a named data set.
        progress: Told about the stages.

    Returns:
        Where everything is and how well it agrees with the run.

    Raises:
        MissingExtraError: The `export` extra is not installed.
        RunError, NotExportableError: There is no finished run, or its model has no inference graph.
        DataError: The run's data is gone; say where it is with `data_source` or `archive`.
        ExportError: The model cannot be exported, or the Edge TPU's compiler failed.
        ParityError: The file drifted past the bounds of the options; its report was written, it was not.
        OutputError: A file cannot be written; all earlier ones stay.
    """
    started = time.monotonic()
    options = options or ExportOptions()
    require_extra("export")
    compiler = find_compiler(options.edgetpu_compiler) if options.target == "edgetpu" else None
    places = free_places(Path(output_path), is_compiled=compiler is not None)
    work = _open_run(run, options, data_source, archive, progress or (lambda stage, done, total: None))
    graph, lowering_difference = _lower(work)

    from export.edgetpu_target import refuse_too_large
    from export.parity import score_images
    from export.parity_report import write_parity_report

    if options.target == "edgetpu" and not options.allow_off_chip:
        refuse_too_large(graph.model.count_params())  # a byte each at least: said before the work
    scored_run = score_images(work.run, work.images.parity, lambda *count: work.tell("score with the run", *count))
    candidates, edgetpu = _candidates(work, graph, compiler)
    report = _compared(work, scored_run, candidates, edgetpu, lowering_difference)
    if report.failures:
        write_parity_report(report, places.refused_report)
        raise ParityError(
            f"'{places.artefact}' was not written: {'; '.join(report.failures)}. The report of what was refused is "
            f"'{places.refused_report.html}'.",
            places.refused_report.html,
        )
    chosen = candidates[0]
    data = {**chosen.metadata.data, "exported_with": _data_at_hand(work)}
    artefact = Artefact(chosen.built.flatbuffer, replace(chosen.metadata, parity=report.summary(), data=data))
    size_bytes = _write(report, artefact, places)
    return ExportResult(
        artefact=places.artefact,
        parity_json=places.report.json,
        parity_html=places.report.html,
        parity=report,
        metadata=artefact.metadata,
        size_bytes=size_bytes,
        seconds=time.monotonic() - started,
        notes=_notes(work, report, artefact.metadata, places),
        compiled=places.compiled,
    )


@dataclass(frozen=True)
class _Work:
    """What all steps work with."""

    run: TrainedRun
    images: ExportImages
    options: ExportOptions
    tell: Progress


@dataclass(frozen=True)
class _Candidate:
    """A built file with its metadata, and what it says of the images of the comparison."""

    built: BuiltModel
    metadata: ArtefactMetadata
    scored: ScoredOutputs


def _open_run(
    run: TrainedRun | Path | str,
    options: ExportOptions,
    data_source: str | None,
    archive: Path | None,
    tell: Progress,
) -> _Work:
    """Reads the images first: wrong data is said before TensorFlow takes its seconds to load."""
    from export.images import load_export_images

    folder = RunFolder(Path(run)) if isinstance(run, (str, Path)) else run.folder
    folder.require_finished()
    folder.read_calibration()  # a damaged one is said before the work
    config = folder.read_config()
    if config.score_rule.needs_discriminator:
        raise ExportError(
            f"The score of the run '{folder.path}' uses feature_l2, a distance in the discriminator, which is not "
            "exported: a device runs the generator alone. Let another score decide, which needs no new training: "
            f"`tfganomaly train {shlex.quote(config.data_source)} --run {shlex.quote(str(folder.path))} --resume "
            "--score latent_l2`."
        )
    is_elsewhere = data_source is not None and canonical_source(data_source) != config.data_source
    if archive is not None or is_elsewhere:
        config = replace(config, data_archive=str(archive) if archive else None)  # the run's belongs to its own source
    images = load_export_images(config, options, data_source, tell)
    tell("load TensorFlow", 0, 1)
    import_quietly()
    tell("load TensorFlow", 1, 1)
    from tfganomaly.training.run import TrainedRun

    return _Work(run if isinstance(run, TrainedRun) else TrainedRun(folder.path), images, options, tell)


def _lower(work: _Work) -> tuple[LoweredGraph, float]:
    """Lowers the run's graph, gives it the form that suits the target, and proves it on held-back images."""
    from export.lowering import check_same_function, lower_graph
    from export.transposed_convolutions import replace_transposed_convolutions

    work.tell("fold batch normalization", 0, 1)
    inference_graph = work.run.model.inference_graph()
    graph = lower_graph(inference_graph)
    if work.options.target == "cpu":
        graph = replace_transposed_convolutions(graph)
    held_back = work.images.held_back
    sample = scale_pixels(held_back[: images_at_once(held_back.shape[1:], _LOWERING_CHECK_IMAGES)])
    difference = check_same_function(inference_graph, graph, sample)
    work.tell("fold batch normalization", 1, 1)
    return graph, difference


def _candidates(
    work: _Work, graph: LoweredGraph, compiler: Path | None
) -> tuple[list[_Candidate], EdgeTpuTarget | None]:
    """Builds, calibrates and scores the file asked for, then those that it is compared with."""
    from export.building import build_model
    from export.edgetpu_target import target_edgetpu
    from export.threshold import ThresholdTransfer

    transfer = ThresholdTransfer(work.run, work.images.held_back, work.options.seed)
    candidates: list[_Candidate] = []
    edgetpu: EdgeTpuTarget | None = None
    for quantization in _quantizations(work.options):
        built = build_model(quantization, graph, work.images, work.run.score_rule, work.options, work.tell)
        if work.options.target == "edgetpu" and not candidates:
            edgetpu = target_edgetpu(built, compiler, work.options, work.tell)
        candidates.append(_Candidate(built, *_calibrate_and_score(work, built, transfer)))
    return candidates, edgetpu


def _quantizations(options: ExportOptions) -> list[str]:
    """What to build: the file asked for, then those that it is compared with, float32 always."""
    wanted = [options.quantization, "float32"] + (["ptq"] if options.compare else [])
    return list(dict.fromkeys(wanted))


def _calibrate_and_score(
    work: _Work, built: BuiltModel, transfer: ThresholdTransfer
) -> tuple[ArtefactMetadata, ScoredOutputs]:
    """Runs a built model through the runtime: its own threshold first, then the images of the comparison."""
    from export.parity import score_images
    from tfganomaly.evaluation.calibrate import calibrate_scorer

    metadata = _provisional_metadata(work, built)
    with tempfile.TemporaryDirectory(prefix="tfganomaly-export-") as folder:
        path = Path(folder) / f"candidate{ARTEFACT_SUFFIX}"
        write_artefact(path, built.flatbuffer, metadata)
        detector = AnomalyDetector(path)
        calibration = calibrate_scorer(
            detector,
            work.images.held_back,
            work.images.held_back_textures,
            work.run.config.training.false_alarm_rate,
            lambda *count: work.tell(f"calibrate {built.title}", *count),
        )
        metadata = metadata.with_calibration(transfer.apply(calibration, detector))
        write_artefact(path, built.flatbuffer, metadata)
        detector = AnomalyDetector(path)
        scored = score_images(
            detector, work.images.parity, lambda *count: work.tell(f"score with {built.title}", *count)
        )
    return metadata, scored


def _provisional_metadata(work: _Work, built: BuiltModel) -> ArtefactMetadata:
    """The artefact's metadata with the run's own calibration, and without parity."""
    run = work.run
    manifest = run.folder.read_manifest()
    return ArtefactMetadata(
        model=run.config.training.model,
        recipe=run.config.training.recipe,
        preprocessing=run.preprocessing,
        score_rule=run.score_rule,
        calibration=run.calibration,
        outputs=built.output_positions,
        quantization=built.quantization,
        target=work.options.target,
        data={
            "source": run.data_source,
            "seed": run.data_seed,
            "validation_fraction": run.validation_fraction,
            "fingerprint": manifest.get("data_fingerprint"),
            "num_train": manifest.get("num_train"),
            "num_validation": manifest.get("num_validation"),
        },
        versions=installed_versions(),
    )


def _data_at_hand(work: _Work) -> dict[str, Any]:
    """The data as the export found it, under the names that the run's own has in the metadata."""
    return {
        "source": work.images.source,
        "fingerprint": work.run.fingerprint_of(work.images.training_items),
        "num_train": len(work.run.learnt_from(work.images.training_items)),
        "num_validation": len(work.images.held_back),
    }


def _compared(
    work: _Work,
    scored_run: ScoredOutputs,
    candidates: Sequence[_Candidate],
    edgetpu: EdgeTpuTarget | None,
    lowering_difference: float,
) -> ParityReport:
    """Times the files against one another, holds each against the run, and lets the gate judge the first."""
    from export.gate import gate_failures
    from export.latency import measure_latencies_ms
    from export.parity import ParityReport, compare_with_run
    from tfganomaly.evaluation.metrics import image_auroc

    run, images = work.run, work.images.parity
    work.tell("measure times", 0, 1)
    latencies_ms = measure_latencies_ms([one.built.flatbuffer for one in candidates], work.images.held_back[0])
    work.tell("measure times", 1, 1)
    run_margin = run.threshold - float(np.median(run.calibration.score_quantiles))
    compared = tuple(
        compare_with_run(one.built.title, scored_run, run_margin, one.scored, images, one.built.inspection, latency_ms)
        for one, latency_ms in zip(candidates, latencies_ms, strict=True)
    )
    return ParityReport(
        run=run.description,
        data=f"{work.images.data_name}, {images.part}",
        names=images.names,
        labels=images.labels,
        run_scores=scored_run.scores,
        run_threshold=run.threshold,
        run_auroc=image_auroc(images.labels, scored_run.scores),
        num_stand_ins=images.num_stand_ins,
        unreadable=work.images.unreadable,
        artefacts=compared,
        lowering_difference=lowering_difference,
        fine_tuning=candidates[0].built.fine_tuning,
        failures=gate_failures(compared[0], images.labels, work.options),
        edgetpu=edgetpu,
    )


def _write(report: ParityReport, artefact: Artefact, places: OutputPlaces) -> int:
    """Writes the files and returns the size of the artefact; a report that an earlier refusal left goes."""
    from export.parity_report import encoded_parity_report

    content = artefact.to_bytes()
    # The report takes its place last: it says that the files were exported.
    contents = {**encoded_parity_report(report, places.report), places.artefact: content}
    compiled = report.edgetpu.compiled_artefact(artefact.metadata) if report.edgetpu else None
    if compiled is not None and places.compiled is not None:
        contents[places.compiled] = compiled.to_bytes()
    write_together(contents)
    for path in (places.refused_report.json, places.refused_report.html):
        path.unlink(missing_ok=True)
    return len(content)


def _notes(work: _Work, report: ParityReport, metadata: ArtefactMetadata, places: OutputPlaces) -> tuple[str, ...]:
    from export.images import FEWEST_TEST_IMAGES
    from tfganomaly.evaluation.advice import warning_below_chance

    images, options = work.images, work.options
    notes = []
    if images.parity.num_stand_ins == images.parity.labels.sum():
        notes.append(
            "The data has no anomalous test images, so disturbed copies of good ones stood for them: the AUROC "
            "compares run and file, and says nothing of real defects."
        )
    elif images.parity.num_stand_ins:
        notes.append(
            f"The data has fewer than {FEWEST_TEST_IMAGES} good or anomalous test images that can be read, so run "
            "and file were compared on disturbed copies of good images too: the AUROC says little of real defects."
        )
    elif below_chance := warning_below_chance(report.run_auroc):
        notes.append(below_chance)
    if options.compare and options.quantization == "ptq":
        notes.append(
            "--compare adds post-training quantization, which is what was exported: float32 alone stands beside it. "
            "For both kinds of int8 side by side export with --quantization qat --compare."
        )
    manifest = work.run.folder.read_manifest()
    expected = manifest.get("num_validation")
    if manifest.get("data_fingerprint") != metadata.data["exported_with"]["fingerprint"]:
        notes.append(
            f"The good images of '{images.source}' are not those that the run was trained on: the data has changed "
            "since the training. Ranges, fine-tuning and threshold are of the images as they are now."
        )
    elif expected != len(images.held_back):
        notes.append(
            f"The run held back {expected} good images, now {len(images.held_back)} were found: the data has changed "
            f"since the training."
        )
    if images.unreadable:
        notes.append(
            f"Images that could not be read and were left out: {len(images.unreadable)}. The first: "
            f"{images.unreadable[0][1]} All of them are in the report's JSON."
        )
    stale = compiled_path(places.artefact)
    if places.compiled is None and stale.exists():
        notes.append(f"'{stale}' is of an earlier export and does not belong to this one.")
    return (*notes, *metadata.calibration.remarks)
