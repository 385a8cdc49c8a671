"""The command line: parse, call one library function, print, exit code.

Nothing heavy is imported at module level: `tfganomaly --help` and `tfganomaly inspect` never load TensorFlow.
Results go to standard output, progress and messages to standard error. Exit codes: 0 done; 1 `inspect` found an anomaly
and --fail-on-anomaly was given; 2 bad input, in one line that says what to do, or wrong usage.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.version import __version__
from tfganomaly.options import DEFAULT_RECIPE, RECIPES
from tfganomaly.reproduction.options import NOT_OPTIONS
from tfganomaly.terminal import (
    BAD_INPUT_EXIT_CODE,
    OneLineErrors,
    PathName,
    SeveralValues,
    echo,
    given_options,
    options_from,
    progress_bar,
    stage_progress,
)

if TYPE_CHECKING:
    from edge_runtime.detector import AnomalyDetector
    from edge_runtime.interpreter import BackendLoader
    from edge_runtime.sources.source import Source
    from edge_runtime.watching.session import WatchSession
    from tfganomaly.data.items import InspectionDataset
    from tfganomaly.training.run import TrainedRun

ANOMALY_FOUND_EXIT_CODE = 1


archive_option = click.option(
    "--archive",
    type=PathName(),
    help="Local file or folder of a named data set such as mnist:8, instead of Keras's cache.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads of the interpreter."
)
sink_option = click.option(
    "--sink",
    "sinks",
    multiple=True,
    metavar="SINK",
    help="Where events go; may be given several times: jsonl:FILE, evidence:FOLDER, mqtt://HOST[:PORT]/PREFIX, "
    "mqtts://..., http(s)://URL (webhook).",
)
device_option = options_from("edge_runtime.device_options:DeviceOptions")
format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table for people, or JSON with one object a line.",
)


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tfganomaly")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Finds defective parts with a camera on a small device.

    Train on photographs of good parts, export an int8 TFLite model, judge the next part on a Raspberry Pi.

    \b
    The usual way:
      tfganomaly train photos/good --run runs/parts
      tfganomaly export runs/parts --output parts.tflite
      tfganomaly inspect parts.tflite new_photos/

    `tfganomaly COMMAND --help` is a short manual page of each command.
    """


@main.command()
@click.argument("data")
@click.option(
    "--run",
    "run",
    type=PathName(),
    required=True,
    help="Folder to write; must be new or empty, unless --resume is given.",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    help="The set of defaults to start from: inspection for parts and surfaces, paper for GANomaly as published."
    f"  [default: {DEFAULT_RECIPE}]",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --run after a stop; options need not be repeated.")
@archive_option
@options_from(
    "tfganomaly.options:ModelOptions", "tfganomaly.options:TrainingOptions", without=("recipe",), recipes=RECIPES
)
def train(data: str, run: Path, recipe: str | None, resume: bool, archive: Path | None, **given: Any) -> None:
    """Train a model on images of good parts.

    DATA is a folder of good images; or a folder in MVTec layout (train/good, test/good, test/DEFECT,
    ground_truth/DEFECT); or elpv (solar cells, PyPI package elpv-dataset); or mnist:8, fashion-mnist:bag,
    cifar10:bird, where the named class is the anomaly.

    A part of the good images is held back: it decides the threshold, and with --early-stop-patience the end of the
    training. No defect is needed. The run can be stopped at any time and goes on with --resume.

    \b
    Example:
      tfganomaly train photos/good --run runs/parts
    """
    from tfganomaly.extras import require_extra

    require_extra("train")
    from tfganomaly.training.observer import ConsoleObserver
    from tfganomaly.training.trainer import train as train_model

    try:
        with ConsoleObserver() as observer:
            summary = train_model(data, run, recipe, given, archive=archive, resume=resume, observer=observer)
    except KeyboardInterrupt:
        import shlex

        if (run / "config.json").is_file():
            again = shlex.join(["tfganomaly", "train", data, "--run", str(run), "--resume"])
            click.echo(f"\nto go on: {again}", err=True)
        raise
    echo(summary.text())


@main.command()
@click.argument("data")
@click.option(
    "--output",
    type=PathName(),
    default=Path("defects.png"),
    show_default=True,
    help="The picture to write.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides images and defects.")
@archive_option
def defects(data: str, output: Path, seed: int, archive: Path | None) -> None:
    """Show the synthetic defects that training paints into your good images.

    DATA is what train takes. The picture has a row for each kind of defect, in the size and contrast in which the
    model sees your parts: what cannot be seen there cannot be learnt.

    \b
    Example:
      tfganomaly defects photos/good --output defects.png
    """
    from tfganomaly.extras import require_extra

    require_extra("train")
    import dataclasses

    from tfganomaly.data.folders import refuse_output_among_images
    from tfganomaly.data.loading import count_channels
    from tfganomaly.data.sources import open_dataset
    from tfganomaly.options import resolve_options
    from tfganomaly.synthetic_defects.sheet import write_defect_sheet

    dataset = open_dataset(data, archive=archive)
    refuse_output_among_images(dataset.source, output, "--output")
    items = dataset.train
    training, model = resolve_options("inspection", {})
    model = dataclasses.replace(model, channels=count_channels(items))
    kinds = write_defect_sheet(items, training, model, output, seed)
    click.echo(f"{output}: {len(kinds)} kinds of defects, {', '.join(kinds)}")


@main.command()
@click.argument("scorer", metavar="RUN_OR_TFLITE", type=PathName())
@click.argument("data")
@click.option("--json", "json_path", type=PathName(), help="Write all figures and scores to this file.")
@click.option("--report", type=PathName(), help="Write an HTML report with pictures into this folder.")
@click.option("--threshold", type=float, help="Judge by this raw score instead of the stored threshold.")
@archive_option
@threads_option
def evaluate(
    scorer: Path,
    data: str,
    json_path: Path | None,
    report: Path | None,
    threshold: float | None,
    archive: Path | None,
    threads: int,
) -> None:
    """Measure how well a run or an exported model tells good from defective.

    RUN_OR_TFLITE is a folder that train wrote or a file that export wrote: the same command on both compares float
    with int8. DATA is what train takes; its test part is scored (test/good and test/DEFECT, with ground_truth masks
    where there are any). Of the plain folder of good images that it was trained on the held-back part is scored, of
    another one every image, as good: that tells the false alarm rate and nothing else.

    Trivial scores (mean grey, contrast, file size, image size) are measured beside, so that nobody believes a model
    that only measures brightness.

    \b
    Example:
      tfganomaly evaluate parts.tflite photos --report parts_report
    """
    from tfganomaly.extras import require_extra

    require_extra("train", "sklearn", "matplotlib", "jinja2", "rich")
    from edge_runtime.atomic_files import require_writable_folder
    from tfganomaly.data.folders import refuse_output_among_images
    from tfganomaly.evaluation.evaluate import evaluate as evaluate_scorer
    from tfganomaly.evaluation.summary import summary_lines

    if json_path:
        _check_json_place(json_path, "image_auroc")
    if report:
        require_writable_folder(report)
    opened = _open_scorer(scorer, threads)
    dataset = _dataset_for(opened, data, archive)
    if report:
        refuse_output_among_images(dataset.source, report, "--report")
    if threshold is not None:
        opened.threshold = threshold
    with progress_bar("scoring") as progress:
        result = evaluate_scorer(opened, dataset, progress)
    if json_path:
        _write_json(json_path, result.to_dict())
    report_path = None
    if report:
        from tfganomaly.evaluation.report import write_report

        report_path = write_report(report, result, opened)
    echo("\n".join(summary_lines(result, report_path)))


@main.command()
@click.argument("run", type=PathName())
@click.option("--output", type=PathName(), required=True, help="The .tflite file to write.")
@click.option("--data", help="Where the training data is now, if it has moved since training.")
@archive_option
@options_from("export.options:ExportOptions")
def export(run: Path, output: Path, data: str | None, archive: Path | None, **given: Any) -> None:
    """Turn a trained run into one int8 .tflite file for a device.

    Batch norm is folded into the convolutions, the graph is fine-tuned with quantization in the loop against the float
    model (qat), converted to int8, and compared with the run on real images; the report stands beside the file. When
    scores or verdicts drift past the stated bounds the export fails and an earlier file stays. The run is not changed.
    SIGTERM and Ctrl-C end the export without leaving anything behind.

    \b
    Example:
      tfganomaly export runs/parts --output parts.tflite
    """
    from export.options import ExportOptions
    from export.pipeline import export_run
    from tfganomaly.termination import orderly_termination

    options = given_options(ExportOptions, given)
    with orderly_termination(), stage_progress() as progress:
        result = export_run(run, output, options, data_source=data, archive=archive, progress=progress)
    echo(result.text())


@main.command()
@click.argument("model", type=PathName())
@click.argument("images", nargs=-1, required=True, type=PathName())
@click.option("--threshold", type=float, help="Judge by this raw score instead of the stored threshold.")
@click.option("--heatmaps", type=PathName(), help="Write a heatmap of each image into this folder.")
@format_option
@click.option(
    "--fail-on-anomaly", is_flag=True, help="Exit with code 1 if an image is anomalous; one that cannot be read is not."
)
@threads_option
@device_option
def inspect(
    model: Path,
    images: tuple[Path, ...],
    threshold: float | None,
    heatmaps: Path | None,
    output_format: str,
    fail_on_anomaly: bool,
    threads: int,
    **given: Any,
) -> None:
    """Judge images with an exported model.

    MODEL is a file that export wrote; IMAGES are files or folders. Each image gets a raw score (higher is more
    anomalous), the same as a multiple of the threshold, and a verdict; JSON has a normalised score too (0.5 is the most
    unusual good image that calibration saw). A file that cannot be read is named and counted;
    the others are judged all the same.

    \b
    Example:
      tfganomaly inspect parts.tflite new_photos/ --heatmaps heatmaps --format json
    """
    from edge_runtime.detector import AnomalyDetector
    from edge_runtime.errors import ImageError
    from edge_runtime.image_files import find_images
    from edge_runtime.inspection import HeatmapFolder, inspect_images
    from edge_runtime.text_output import INSPECTION_HEADER, inspection_line

    detector = AnomalyDetector(model, threshold=threshold, num_threads=threads, backend_loader=_backend_loader(given))
    paths = find_images(images)
    heatmap_folder = HeatmapFolder(heatmaps, images) if heatmaps else None
    if output_format == "table":
        click.echo(INSPECTION_HEADER)
    anomalous = unreadable = 0
    for result in inspect_images(detector, paths, with_map=heatmap_folder is not None):
        if result.error is not None and len(paths) == 1 and output_format == "table":
            raise ImageError(result.error)
        heatmap = heatmap_folder.write(detector, result) if heatmap_folder is not None else None
        if output_format == "json":
            echo(json.dumps(result.to_record() | ({"heatmap": str(heatmap)} if heatmap is not None else {})))
        else:
            echo(inspection_line(result))
        unreadable += result.detection is None
        anomalous += result.detection is not None and result.detection.is_anomaly
    good = len(paths) - unreadable - anomalous
    click.echo(
        f"{len(paths)} images: {good} good, {anomalous} anomalous, {unreadable} unreadable; "
        f"threshold {detector.threshold:.6g}",
        err=True,
    )
    if unreadable == len(paths):
        raise SystemExit(BAD_INPUT_EXIT_CODE)
    if fail_on_anomaly and anomalous:
        raise SystemExit(ANOMALY_FOUND_EXIT_CODE)


@main.command()
@click.argument("model", type=PathName())
@click.argument("good_folder", type=PathName())
@click.option(
    "--false-alarm-rate",
    type=click.FloatRange(0, 0.5, min_open=True),
    help="Share of good images that may be called anomalous.  [default: the rate stored in the model]",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 1, max_open=True),
    help="Keep the rate with this confidence, such as 0.95, and not only on average: 1% then needs 299 good images.",
)
@click.option(
    "--defects",
    type=PathName(),
    help="Folder of defective images. Without --false-alarm-rate the threshold becomes the best trade between missed "
    "defects and false alarms; with it they only tell how many are found.",
)
@click.option(
    "--miss-cost",
    type=click.FloatRange(0, min_open=True),
    help="In that trade, how many times worse it is to miss 1% of the defects than to call 1% of the good parts "
    "anomalous.  [default: 1]",
)
@threads_option
@device_option
def calibrate(
    model: Path,
    good_folder: Path,
    false_alarm_rate: float | None,
    confidence: float | None,
    defects: Path | None,
    miss_cost: float | None,
    threads: int,
    **given: Any,
) -> None:
    """Set a model's threshold anew from images of good parts.

    Do this on the device with the camera and the light that it will meet: GOOD_FOLDER holds photographs of good parts
    that the model was not trained on, better a hundred than ten. MODEL keeps its network; threshold, score range and
    heatmap colours are replaced. What the threshold promises is printed and stored in MODEL.

    \b
    Example:
      tfganomaly calibrate parts.tflite good_on_the_line/ --false-alarm-rate 0.005
      tfganomaly calibrate parts.tflite good_on_the_line/ --defects rejects/ --miss-cost 5
    """
    from edge_runtime.calibrating.calibration_images import find_defective_images, find_good_images
    from edge_runtime.calibrating.recalibration import CalibrationWish, calibrate_artefact
    from edge_runtime.text_output import calibration_text

    wish = CalibrationWish(false_alarm_rate, confidence, miss_cost)
    images = find_good_images(good_folder)
    defective = find_defective_images(defects) if defects else []
    loader = _backend_loader(given)
    with progress_bar("scoring images") as progress:
        done = calibrate_artefact(
            model, images, wish, progress, defective_images=defective, num_threads=threads, backend_loader=loader
        )
    for _, reason in done.unreadable:
        click.echo(f"left out: {reason}", err=True)
    if done.copies_note:
        click.echo(done.copies_note, err=True)
    click.echo(calibration_text(done, len(images)))


@main.command()
@click.argument("source")
@click.argument("folder", type=PathName())
@options_from("edge_runtime.capturing.options:CaptureOptions")
def capture(source: str, folder: Path, **given: Any) -> None:
    """Take photographs of parts, to train and calibrate on.

    SOURCE is what watch takes: camera:0, /dev/v4l/by-id/..., picamera:0, the URL of an RTSP or MJPEG stream, a video
    file; or a folder, whose images are taken once. Give the --roi and --rotate of the watch to come: a model must be
    trained on pictures that are cut and turned as those on the line.

    Photographs go into FOLDER as PNG files, named by time, and of a folder by the original too; nothing there is
    overwritten. A whole data set is refused. Frames of a black, overexposed or frozen camera are left out and counted;
    --no-frame-checks takes them. A camera that goes away is waited for. SIGTERM or Ctrl-C ends it after the frame at
    hand. No model is needed.

    \b
    Example:
      tfganomaly capture camera:0 good/ --every 2s --count 120 --roi 80,0,480,480
      tfganomaly capture old_photos/ good/ --roi 80,0,480,480 --rotate 90
    """
    from edge_runtime.capturing.console import CaptureConsole
    from edge_runtime.capturing.options import CaptureOptions
    from edge_runtime.capturing.session import CaptureSession
    from edge_runtime.watching.signals import stop_signals_for

    session = CaptureSession(source, folder, given_options(CaptureOptions, given), CaptureConsole())
    with stop_signals_for(session.stop):
        done = session.run()
    echo(f"{done.reason}: {done.text()}")


@main.command()
@click.argument("model", type=PathName())
@click.argument("source")
@sink_option
@options_from("edge_runtime.watching.options:WatchOptions", "edge_runtime.sinks.options:SinkOptions")
@threads_option
@device_option
def watch(model: Path, source: str, sinks: tuple[str, ...], threads: int, **given: Any) -> None:
    """Judge frames as they come, for as long as it takes.

    SOURCE is a folder (new images are judged when they are complete), a video file, camera:0, /dev/v4l/by-id/...,
    picamera:0, or the URL of an RTSP or MJPEG stream. Alarms, health and a summary are logged on standard error; --sink
    sends every event on. A camera that goes away, a damaged file, a broker that is down are said and waited out.
    SIGTERM or Ctrl-C ends it after the frame at hand; SIGHUP reads MODEL again, which a new file moved to its place
    does by itself.

    \b
    Example:
      tfganomaly watch parts.tflite photos/ --sink jsonl:verdicts.jsonl --sink evidence:evidence
      tfganomaly watch parts.tflite camera:0 --every 500ms --sink mqtt://broker.local/line1
    """
    from edge_runtime.watching.signals import signals_for

    session = _watch_session(model, source, sinks, threads, given)
    with signals_for(session.loop):
        ended = session.run()
    click.echo(f"{ended.reason}: {session.loop.statistics.summary()}", err=True)


@main.command()
@click.argument("model", type=PathName())
@click.argument("source", required=False)
@options_from("edge_runtime.serving.options:ServeOptions")
@sink_option
@options_from("edge_runtime.watching.options:WatchOptions", "edge_runtime.sinks.options:SinkOptions")
@threads_option
@device_option
def serve(model: Path, source: str | None, sinks: tuple[str, ...], threads: int, **given: Any) -> None:
    """Answer HTTP requests on the device: verdicts for images, health, metrics, a live page.

    POST an image to /v1/inspect and get its verdict as JSON. With SOURCE a watch runs inside (see `tfganomaly watch`)
    and the page at / shows its latest frames with heatmaps, its scores and alarms, also on a phone. Only this machine
    can reach it unless --host says otherwise, and then a token is needed.

    \b
    Example:
      tfganomaly serve parts.tflite photos/ --port 8080
      curl --data-binary @part.jpg http://127.0.0.1:8080/v1/inspect
    """
    from edge_runtime.serving.options import ServeOptions
    from edge_runtime.serving.service import NoSource, Service
    from edge_runtime.watching.signals import signals_for

    session = _watch_session(model, source or NoSource(), sinks, threads, given, outlives_source=True)
    service = Service(session, given_options(ServeOptions, given), session.model.load)
    with signals_for(session.loop):
        ended = service.run()
    click.echo(f"{ended.reason}: {session.loop.statistics.summary()}", err=True)


@main.command()
@click.argument("model", type=PathName())
@click.option("--runs", type=click.IntRange(1), default=200, show_default=True, help="Timed inferences.")
@click.option("--json", "json_path", type=PathName(), help="Write the figures to this file.")
@threads_option
@device_option
def benchmark(model: Path, runs: int, json_path: Path | None, threads: int, **given: Any) -> None:
    """Measure latency, cold start and memory of a model on this machine.

    Latency is from an image in memory to its verdict and anomaly map; cold start is a process of its own from its start
    to its first score.

    \b
    Example:
      tfganomaly benchmark parts.tflite --threads 2
    """
    from edge_runtime.benchmark import measure
    from edge_runtime.device_options import DeviceOptions
    from edge_runtime.text_output import benchmark_text

    device = given_options(DeviceOptions, given)
    if json_path:
        _check_json_place(json_path, "latency_ms")
    with progress_bar("timing") as progress:
        result = measure(
            model, num_threads=threads, runs=runs, progress=progress, device=device, say=_say_on_standard_error
        )
    if json_path:
        _write_json(json_path, result.to_dict())
    click.echo(benchmark_text(result))


@main.command()
@click.argument("model", type=PathName())
@click.option("--edgetpu", is_flag=True, help="Show which operations the Edge TPU runs, of any .tflite file.")
@format_option
def info(model: Path, edgetpu: bool, output_format: str) -> None:
    """Show what is in an exported model.

    Its metadata (input, score rule, threshold and how it was chosen, figures of the export), the operations with
    counts, the types of all tensors, and the inputs and outputs with their quantization.

    With --edgetpu: which operations a Coral Edge TPU runs, which not and why, where the graph is cut, and whether
    the parameters fit on the chip. That is a static check by the vendor's table; it takes any .tflite file.

    \b
    Example:
      tfganomaly info parts.tflite --format json
      tfganomaly info foreign.tflite --edgetpu
    """
    if edgetpu:
        from edge_runtime.edgetpu.check import check_edgetpu_file
        from edge_runtime.text_output import edgetpu_text

        check = check_edgetpu_file(model)
        echo(json.dumps(check.to_dict()) if output_format == "json" else edgetpu_text(check))
        return
    from edge_runtime.artefact import read_artefact
    from edge_runtime.flatbuffer import inspect_flatbuffer
    from edge_runtime.text_output import info_record, info_text

    artefact = read_artefact(model)
    inspection = inspect_flatbuffer(artefact.flatbuffer, name=f"'{model}'")
    file_bytes = model.stat().st_size
    if output_format == "json":
        click.echo(json.dumps(info_record(artefact.metadata, inspection, file_bytes)))
    else:
        echo(info_text(artefact.metadata, inspection, file_bytes))


@main.command()
@click.option(
    "--output",
    type=PathName(),
    default=Path("demo_output"),
    show_default=True,
    help="Folder to write.",
)
def demo(output: Path) -> None:
    """Run the whole way once on real images of solar cells.

    Trains on the good cells of ELPV (PyPI package elpv-dataset), evaluates, exports int8, judges the test cells in a
    process in which TensorFlow cannot be imported, and writes a report and a sheet of heatmaps. Takes 7 to 20
    minutes on two cores.

    \b
    Example:
      tfganomaly demo --output demo_output
    """
    from tfganomaly.extras import require_extra

    require_extra("demo")
    from tfganomaly.demo import run_demo

    click.echo(run_demo(output, lambda line: click.echo(line, err=True)))


@main.command(cls=SeveralValues)
@click.argument("collection", type=click.Choice(["mnist", "fashion-mnist", "cifar10"]))
@click.option(
    "--abnormal",
    multiple=True,
    metavar="CLASS...",
    help="Classes to take as the anomaly, one after the other, by number or name.  [default: all ten]",
)
@click.option(
    "--run",
    "run",
    type=PathName(),
    help="Folder of the experiment; what it holds is kept.  [default: reproduce_COLLECTION]",
)
@click.option(
    "--data",
    "--archive",
    "archive",
    type=PathName(),
    help="Local file or folder of the collection, instead of Keras's cache.",
)
@options_from("tfganomaly.reproduction.options:ReproductionOptions")
@options_from("tfganomaly.options:ModelOptions", "tfganomaly.options:TrainingOptions", without=NOT_OPTIONS)
def reproduce(
    collection: str,
    abnormal: tuple[str, ...],
    run: Path | None,
    archive: Path | None,
    seeds: int | None,
    protocol: str | None,
    **given: Any,
) -> None:
    """Run the paper's experiment: one class is the anomaly, the other nine are normal.

    COLLECTION is mnist, fashion-mnist or cifar10. Each class and seed is a training of its own, scored on the test part
    after each epoch. Stop it at any time; the same command goes on where it stopped. At the end stand a table, a
    chart, histograms and reconstructions, and results.json with one flat record for each class, seed and score.

    \b
    Example:
      tfganomaly reproduce mnist --abnormal 0 2 --max-train-images 12800 --epochs 5
    """
    from tfganomaly.extras import require_extra

    require_extra("train")
    from tfganomaly.reproduction.experiment import reproduce as run_experiment
    from tfganomaly.reproduction.observer import ReproductionConsole
    from tfganomaly.reproduction.options import ReproductionOptions
    from tfganomaly.reproduction.summary import summary_lines

    folder = run or Path(f"reproduce_{collection}")
    options = given_options(ReproductionOptions, {"seeds": seeds, "protocol": protocol})
    with ReproductionConsole() as observer:
        records = run_experiment(collection, folder, abnormal, options, given, archive=archive, observer=observer)
    click.echo("\n".join(summary_lines(records, folder)))


def _open_scorer(path: Path, threads: int) -> TrainedRun | AnomalyDetector:
    """A run where a folder is named, else an artefact."""
    if path.is_dir():
        from tfganomaly.extras import require_extra
        from tfganomaly.training.run import load_run

        run = load_run(path)
        require_extra("train")
        return run
    from edge_runtime.detector import AnomalyDetector

    return AnomalyDetector(path, num_threads=threads)


def _dataset_for(scorer: TrainedRun | AnomalyDetector, data: str, archive: Path | None) -> InspectionDataset:
    """The data with the split that the scorer was trained with, so that nothing it has learnt is scored."""
    from edge_runtime.detector import AnomalyDetector
    from tfganomaly.evaluation.evaluated_data import open_for_artefact, open_for_run

    if isinstance(scorer, AnomalyDetector):
        return open_for_artefact(scorer.metadata.data, scorer.validation_fraction, scorer.data_seed, data, archive)
    return open_for_run(scorer, data, archive)


def _watch_session(
    model: Path,
    source: str | Source,
    sinks: tuple[str, ...],
    threads: int,
    given: dict[str, Any],
    outlives_source: bool = False,
) -> WatchSession:
    """A watch as the flags describe it."""
    from functools import partial

    from edge_runtime.detector import AnomalyDetector
    from edge_runtime.sinks.options import SinkOptions
    from edge_runtime.sinks.parsing import open_sink
    from edge_runtime.watching.options import WatchOptions
    from edge_runtime.watching.session import WatchSession

    sink_options = given_options(SinkOptions, given)
    openers = [partial(open_sink, sink, sink_options) for sink in sinks]
    load = partial(AnomalyDetector, num_threads=threads, backend_loader=_backend_loader(given))
    options = given_options(WatchOptions, given)
    return WatchSession(model, source, options, load, openers, outlives_source=outlives_source)


def _backend_loader(given: dict[str, Any]) -> BackendLoader:
    """What makes the interpreter on the device that the flags name."""
    from edge_runtime.device_options import DeviceOptions
    from edge_runtime.edgetpu.delegate import device_backend_loader

    return device_backend_loader(given_options(DeviceOptions, given), _say_on_standard_error)


def _say_on_standard_error(line: str) -> None:
    click.echo(line, err=True)


def _check_json_place(path: Path, key: str) -> None:
    """Says before the work that figures cannot be written to a file, or would take the place of something else.

    Raises:
        OutputError: It cannot be written, or holds no earlier figures, which have that key.
    """
    from edge_runtime.atomic_files import require_writable
    from edge_runtime.errors import OutputError

    require_writable(path)
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        is_earlier = key in json.loads(path.read_bytes())
    except (ValueError, TypeError, RecursionError):
        is_earlier = False
    if not is_earlier:
        raise OutputError(f"--json is '{path}', which holds something else than earlier figures. Name another file.")


def _write_json(path: Path, values: dict[str, Any]) -> None:
    from edge_runtime.atomic_files import write_text_atomically

    write_text_atomically(path, json.dumps(values, indent=2, allow_nan=False) + "\n")
