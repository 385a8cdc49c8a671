"""Wall time and memory of whole processes: `tfganomaly --help` and `tfganomaly inspect` on one image.

python benchmarks/startup.py parts.tflite part.png
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from figures_file import figures_file
from machine import describe_machine


def main() -> None:
    """Measures both commands and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=figures_file)
    arguments = parser.parse_args()
    commands = {"--help": ["--help"], "inspect": ["inspect", str(arguments.model), str(arguments.image)]}
    record = {name: _measure(command, arguments.runs) for name, command in commands.items()}
    for name, figures in record.items():
        print(f"tfganomaly {name:8} {figures['seconds']:.3f} s, {figures['peak_rss_mb']:.0f} MB, {arguments.runs} runs")
    print(json.dumps(describe_machine()))
    if arguments.json:
        arguments.json.write_text(json.dumps({**record, "machine": describe_machine()}, indent=2) + "\n", "utf-8")


def _measure(arguments: list[str], runs: int) -> dict[str, float]:
    """Median wall time in seconds and largest resident memory in MB of the program with these arguments."""
    seconds, peaks = [], []
    for _ in range(runs):
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "tfganomaly", *arguments], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - started)
        peaks.append(usage.ru_maxrss / 1024)
        if status != 0:
            raise SystemExit(f"tfganomaly {' '.join(arguments)} failed")
    return {"seconds": statistics.median(seconds), "peak_rss_mb": max(peaks)}


if __name__ == "__main__":
    main()
