"""What an export came to, as data and as lines for a terminal."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.artefact import ArtefactMetadata

if TYPE_CHECKING:
    from export.parity import ParityReport
    from tfganomaly.evaluation.metrics import AurocDifference


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Attributes:
        artefact: The file that was written.
        parity_json: The report beside it, for tools.
        parity_html: The report beside it, for people.
        parity: The report itself.
        metadata: What the file says about itself.
        size_bytes: Of the whole file.
        seconds: Time that the export took.
        notes: What the user should know.
        compiled: The same model compiled for the Edge TPU, or None.
    """

    artefact: Path
    parity_json: Path
    parity_html: Path
    parity: ParityReport = field(repr=False)
    metadata: ArtefactMetadata = field(repr=False)
    size_bytes: int
    seconds: float
    notes: tuple[str, ...]
    compiled: Path | None = None

    def text(self) -> str:
        """A few lines for a terminal: the file, a table of run and files side by side, the report, what comes next."""
        report, exported = self.parity, self.parity.exported
        lines = [
            f"{self.artefact}: {exported.name}, {self.size_bytes / 1e6:.2f} MB, "
            f"threshold {exported.threshold:.4g}, made in {self.seconds:.0f} s",
            f"compared with the run on {report.data} ({len(report.labels)} images):",
            f"{'':14}{'AUROC':>8}{'flips':>14}{'score drift':>13}{'MB':>7}{'ms':>7}",
            f"{'run (float)':14}{_decimals(report.run_auroc)}",
        ]
        for each in report.artefacts:
            flips = f"{each.verdict_flips} ({each.verdict_flip_share:.1%})"
            drift = "-" if each.margin_difference is None else f"{each.margin_difference.mean:.1%}"
            lines.append(
                f"{each.name:14}{_decimals(each.auroc)}{flips:>14}{drift:>13}"
                f"{each.size_bytes / 1e6:>7.2f}{each.latency_ms:>7.2f}"
            )
        lines.append(
            "flips: verdicts that differ from the run's. score drift: mean difference of the score, in "
            "margins (threshold minus usual good score). MB: of the network; the file holds its metadata too."
        )
        if report.fine_tuning and report.fine_tuning.steps:
            lines.append(f"fine-tuning: {report.fine_tuning.text()}")
        if exported.auroc_drop is not None:
            lines.append(f"AUROC of {exported.name} minus the run's: {_with_interval(-exported.auroc_drop)}")
        lines += [
            f"AUROC of {exported.name} minus that of {rival.name}: {_with_interval(difference)}"
            for rival, difference in report.rivals
        ]
        lines += [f"edge tpu: {sentence}" for sentence in (report.edgetpu.conclusions() if report.edgetpu else ())]
        if self.compiled:
            lines.append(f"compiled for the Edge TPU: {self.compiled}")
        lines.append(f"report: {self.parity_html}")
        lines += [f"note: {note}" for note in self.notes]
        file = shlex.quote(str(self.artefact))
        lines.append(f"next: tfganomaly evaluate {file} DATA, or tfganomaly inspect {file} IMAGES")
        return "\n".join(lines)


def _with_interval(difference: AurocDifference) -> str:
    if difference.interval is None:
        return f"{difference.value:+.4f}"
    low, high = difference.interval
    verdict = "these images tell them apart" if low > 0 or high < 0 else "these images do not tell them apart"
    return f"{difference.value:+.4f} (95%: {low:+.4f} to {high:+.4f}), {verdict}"


def _decimals(auroc: float | None) -> str:
    return f"{'-' if auroc is None else f'{auroc:.4f}':>8}"
