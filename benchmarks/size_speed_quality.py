r"""What detection costs in bytes and milliseconds: networks of several widths, quantizations and runtimes in one run.

    python benchmarks/size_speed_quality.py
    python benchmarks/size_speed_quality.py fashion-mnist:8 --widths 64 32 16 8 --epochs 3 --max-train-images 12800 \
        --runs-folder runs --json pareto.json

The first tables need no training: drawn weights, because latency does not depend on them. With DATA another one trains
a run for each slope, latent size and width, or takes the finished run out of --runs-folder (an interrupted one it
resumes), and exports and evaluates each quantization. ONNX Runtime (static QDQ) and OpenVINO (NNCF) get the same
network and the same calibration images, and in the latency tables also with our rewriting of its transposed
convolutions; without them (pip install 'tfganomaly[peers]') their rows are left out, with a line that says so.

Latencies are medians over interleaved rounds from a float32 image in memory to the float32 outputs; with one thread the
process is held on one core, and its processor time stands beside: on a busy machine that compares, and the latency does
not. First score and peak memory are those of a fresh process on one core. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figures_file import figures_file
from int8_runtimes import INSTALLATION, PEERS, ModelFile, missing_packages, peer_files
from interleaved import figures_of_files
from machine import describe_machine

from tfganomaly.quiet_tensorflow import import_quietly

CALIBRATION_IMAGES = 64


def main() -> None:
    """Measures, prints tables, writes JSON."""
    arguments = _parse_arguments()
    import_quietly()
    peers = [name for name in PEERS if _can_take_part(name)]
    record: dict[str, Any] = {"machine": describe_machine(), "peers": _peer_versions(peers), "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as folder:
        record["latency"] = _latency_tables(arguments, peers, Path(folder))
        if arguments.data:
            from quality_by_width import quality_tables

            record["quality"] = {}
            for name, rows in quality_tables(arguments, peers, Path(folder)):
                _print_table(f"{arguments.data}, seed {arguments.seed}: {name}", rows)
                record["quality"][name] = rows
            print(_smaller_networks(record["quality"]))
        else:
            print("No DATA was named, so nothing was trained and there is no AUROC: see --help.")
    print(json.dumps({**record["machine"], **record["peers"]}))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="as `tfganomaly train` takes it; without it latencies alone")
    parser.add_argument(
        "--networks", nargs="*", type=_size_and_channels, default=[(32, 1), (64, 3)], help="of the latency tables: 64x3"
    )
    parser.add_argument("--widths", nargs="+", type=int, default=[64, 32, 16, 8])
    parser.add_argument("--latent-sizes", nargs="+", type=int, default=[100], help="latency tables: the first alone")
    parser.add_argument(
        "--leaky-relu-slopes", nargs="+", type=float, default=[0.2], help="of the trained networks; 0 is ReLU"
    )
    parser.add_argument("--rounds", type=int, default=60, help="of 5 images with each model")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="for one thread")
    parser.add_argument("--archive", type=Path, help="the data's local file")
    parser.add_argument(
        "--runs-folder", type=Path, help="holds and keeps the runs; finished ones are not trained again, others resumed"
    )
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--max-train-images", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=figures_file)
    return parser.parse_args()


def _size_and_channels(text: str) -> tuple[int, int]:
    size, _, channels = text.partition("x")
    if not (size.isdigit() and channels in ("1", "3")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a side in pixels and 1 or 3 channels, such as 64x3")
    return int(size), int(channels)


def _can_take_part(peer: str) -> bool:
    """Whether all packages of another runtime are installed; says which are not."""
    missing = missing_packages(peer)
    if missing:
        print(f"{peer} is left out: {', '.join(missing)} not installed ({INSTALLATION})", file=sys.stderr)
    return not missing


def _peer_versions(peers: Sequence[str]) -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package) for package in sorted({name for peer in peers for name in PEERS[peer]})}


def _latency_tables(arguments: argparse.Namespace, peers: Sequence[str], folder: Path) -> dict[str, Any]:
    from random_networks import Network, draw_images, forms

    from export.conversion import convert_to_float32, convert_with_calibration

    tables = {}
    for image_size, channels in arguments.networks:
        for width in arguments.widths:
            network = Network(image_size, channels, width, arguments.latent_sizes[0])
            images = draw_images(network, CALIBRATION_IMAGES)
            graphs = forms(network)
            flatbuffers = {f"LiteRT int8, {form}": convert_with_calibration(g, images) for form, g in graphs.items()}
            flatbuffers["LiteRT float32, as exported"] = convert_to_float32(graphs["as exported"])
            place = folder / f"drawn-{image_size}-{channels}-{width}"
            place.mkdir()
            files = {}
            for number, (name, flatbuffer) in enumerate(flatbuffers.items()):
                path = place / f"{number}.tflite"
                path.write_bytes(flatbuffer)
                files[name] = ModelFile("litert", path, network.image_shape)
            files |= peer_files(peers, graphs["transposed convolutions kept"], images, place / "peers")
            files |= peer_files(peers, graphs["as exported"], images, place / "rewritten", ", rewritten as ours")
            tables[str(network)] = figures_of_files(files, images[0], arguments.rounds, arguments.core)
            _print_table(str(network), tables[str(network)])
            print(_beside_the_others(tables[str(network)]))
    return tables


def _beside_the_others(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Says how the exported file compares with each other runtime's, as factors."""
    ours = rows["LiteRT int8, as exported"]
    others = ("LiteRT float32, as exported", "ONNX Runtime int8", "OpenVINO int8")
    columns = ("CPU ms", "first score, s", "peak MB")
    return "\n".join(
        f"{name}: {', '.join(f'{rows[name][column] / ours[column]:.2f} times our {column}' for column in columns)}"
        for name in others
        if name in rows
    )


def _print_table(title: str, rows: Mapping[str, Mapping[str, float | None]]) -> None:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    print(f"\n{title}\n{'':46}" + "".join(f"{column:>16}" for column in columns))
    for name, row in rows.items():
        cells = ("-" if (value := row.get(column)) is None else value for column in columns)
        print(f"{name:46}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def _smaller_networks(tables: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Says which of the smaller networks detect as well as the first in a third of its time or less."""
    first, *smaller = ours = {name: rows["LiteRT int8 (qat)"] for name, rows in tables.items()}
    if any(row["AUROC"] is None for row in ours.values()):
        return "\nThe test images have one class only: no AUROC says which smaller network detects as well."
    found = [
        f"{name} ({ours[first]['CPU ms'] / ours[name]['CPU ms']:.1f} times faster, "
        f"AUROC {ours[name]['AUROC'] - ours[first]['AUROC']:+.4f})"
        for name in smaller
        if 3 * ours[name]["CPU ms"] <= ours[first]["CPU ms"] and ours[name]["AUROC"] >= ours[first]["AUROC"] - 0.01
    ]
    return f"\nAt least 3 times faster than {first}, AUROC at most 0.01 lower: {', '.join(found) or 'none'}"


if __name__ == "__main__":
    main()
