"""Options of the sinks: declared once, here; `watch` and `serve` make their flags from them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.option_declaration import check_options, option

JUDGEMENT_CHOICES = ("all", "anomalous", "none")


@dataclass(frozen=True)
class SinkOptions:
    """What decides how events are delivered. An option holds for all sinks of its type."""

    sink_queue: int = option(
        5000,
        "How many events an MQTT, webhook or JSON lines sink keeps during an outage. Of more, the oldest judgements go "
        "first, alarms last.",
        minimum=10,
        maximum=1_000_000,
    )
    sink_ca_file: str | None = option(
        None,
        "Certificates (PEM) by which mqtts:// and https:// know the other side, instead of the system's.",
        value_type=str,
    )
    jsonl_max_mb: float = option(
        10.0, "Size at which a JSON lines file is moved to FILE.1 and a new one begun.", minimum=0.001, maximum=100_000
    )
    jsonl_files: int = option(
        5, "How many JSON lines files are kept, the current one included.", minimum=1, maximum=1000
    )
    jsonl_judgements: str = option(
        "all",
        "Which judgements are written into a JSON lines file, beside all other events.",
        choices=JUDGEMENT_CHOICES,
    )
    evidence_max_mb: float = option(
        500.0, "Size of an evidence folder above which its oldest pictures are removed.", minimum=0.1, maximum=1e7
    )
    evidence_around: int = option(
        2,
        "How many good frames just before and just after a raised alarm are kept as evidence too.",
        maximum=50,
        minimum=0,
    )
    mqtt_password_file: str | None = option(
        None, "File with the MQTT password in its first line; not readable by everybody.", value_type=str
    )
    mqtt_judgements: str = option(
        "all",
        "Which judgements are published by MQTT as events of their own, beside the state.",
        choices=JUDGEMENT_CHOICES,
    )
    mqtt_discovery_prefix: str = option(
        "homeassistant", "Topic under which Home Assistant looks for new devices; 'off' for none."
    )
    mqtt_device_name: str | None = option(
        None, "Name of the device in Home Assistant.  [default: the topic prefix]", value_type=str
    )
    webhook_token_file: str | None = option(
        None, "File with the bearer token of webhooks in its first line; not readable by everybody.", value_type=str
    )
    webhook_judgements: str = option(
        "none", "Which judgements are posted to webhooks, beside all other events.", choices=JUDGEMENT_CHOICES
    )

    def __post_init__(self) -> None:
        check_options(self)
