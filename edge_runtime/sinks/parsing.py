"""Makes a sink from what a user wrote after --sink."""

from __future__ import annotations

import re
import socket
import ssl
from urllib.parse import SplitResult, unquote, urlsplit

from edge_runtime.errors import SinkError
from edge_runtime.sinks.home_assistant import device_id
from edge_runtime.sinks.options import SinkOptions
from edge_runtime.sinks.secret_file import read_secret
from edge_runtime.sinks.sink import Controls, Sink

SPECIFICATIONS = "jsonl:FILE, evidence:FOLDER, mqtt://[USER@]HOST[:PORT][/PREFIX], mqtts://..., http://..., https://..."
"""What `open_sink` takes, for help texts."""

_BYTES_PER_MB = 1_000_000


def open_sink(specification: str, options: SinkOptions, controls: Controls | None = None) -> Sink:
    """Return the sink that a specification names; it is not started.

    Args:
        specification: One of `SPECIFICATIONS`.
        options: What holds for all sinks of a type.
        controls: Who takes commands that arrive by MQTT; None: nobody does.

    Raises:
        SinkError: The specification is none, or a file of a password, token or certificate cannot be used.
        MissingExtraError: The sink needs an extra that is not installed.
    """
    scheme, _, rest = specification.partition(":")
    if scheme == "jsonl" and rest:
        from edge_runtime.sinks.jsonl import JsonLinesSink

        return JsonLinesSink(
            rest,
            max_bytes=round(options.jsonl_max_mb * _BYTES_PER_MB),
            num_files=options.jsonl_files,
            queue_capacity=options.sink_queue,
            judgements=options.jsonl_judgements,
        )
    if scheme == "evidence" and rest:
        from edge_runtime.sinks.evidence import EvidenceSink

        max_bytes = round(options.evidence_max_mb * _BYTES_PER_MB)
        return EvidenceSink(rest, max_bytes=max_bytes, around_alarm=options.evidence_around)
    if scheme in ("mqtt", "mqtts", "http", "https") and rest.startswith("//"):
        url = _checked_url(specification)
        return _mqtt_sink(url, options, controls) if scheme.startswith("mqtt") else _webhook_sink(url, options)
    raise SinkError(f"--sink '{specification}' is not understood; one of these was expected: {SPECIFICATIONS}.")


def _checked_url(specification: str) -> SplitResult:
    try:
        url = urlsplit(specification)
        port = url.port
    except ValueError as error:
        raise SinkError(f"--sink '{specification}' is no address: {error}.") from None
    if url.password is not None:
        shown = specification.replace(f":{url.password}@", ":...@", 1)
        raise SinkError(
            f"--sink '{shown}' holds a password, which every user of this machine could read in the list of processes. "
            "Put it into a file and name that with --mqtt-password-file or --webhook-token-file."
        )
    if not url.hostname or port == 0:
        raise SinkError(f"--sink '{specification}' names no host to connect to, or no usable port.")
    return url


def _mqtt_sink(url: SplitResult, options: SinkOptions, controls: Controls | None) -> Sink:
    from edge_runtime.sinks.mqtt import MqttSink
    from edge_runtime.sinks.mqtt_connection import BrokerAddress

    if url.query or url.fragment:
        raise SinkError(
            f"--sink '{url.geturl()}' has a '?' or '#'; options of MQTT are flags such as --mqtt-judgements."
        )
    prefix = unquote(url.path).strip("/") or f"tfganomaly/{_host_name()}"
    if re.search(r"[+#\0]|//", prefix) or prefix.startswith("$") or len(prefix.encode()) > 200:
        raise SinkError(
            f"The topic prefix '{prefix}' cannot be published to: no +, # or empty level, no $ at its start, at most "
            "200 bytes. Write for example mqtt://broker.local/factory/line1."
        )
    if options.mqtt_password_file is not None and not url.username:
        raise SinkError("--mqtt-password-file was given but no user; write mqtt://USER@HOST.")
    password = None if options.mqtt_password_file is None else read_secret(options.mqtt_password_file, "MQTT password")
    is_encrypted = url.scheme == "mqtts"
    address = BrokerAddress(
        host=str(url.hostname),
        port=url.port or (8883 if is_encrypted else 1883),
        user=unquote(url.username) if url.username else None,
        password=password,
        tls=_tls_context(options) if is_encrypted else None,
        client_id=device_id(prefix),
    )
    discovery_prefix = options.mqtt_discovery_prefix.strip("/")
    if re.search(r"[+#\0]|//", discovery_prefix) or not discovery_prefix:
        raise SinkError(f"--mqtt-discovery-prefix '{discovery_prefix}' is no topic; such as 'homeassistant', or 'off'.")
    return MqttSink(
        address,
        prefix,
        queue_capacity=options.sink_queue,
        judgements=options.mqtt_judgements,
        discovery_prefix=None if discovery_prefix == "off" else discovery_prefix,
        device_name=options.mqtt_device_name or prefix,
        controls=controls,
    )


def _webhook_sink(url: SplitResult, options: SinkOptions) -> Sink:
    from edge_runtime.sinks.webhook import WebhookSink

    token = None
    if options.webhook_token_file is not None:
        token = read_secret(options.webhook_token_file, "bearer token")
        if not token.isascii():
            raise SinkError(f"The bearer token in '{options.webhook_token_file}' has letters that HTTP does not allow.")
    if re.search(r"[\s\x7f]", url.geturl()) or not url.geturl().isascii() or url.username:
        raise SinkError(
            f"--sink '{url.geturl()}' has a user, blanks or letters that HTTP does not allow; write %20 for a blank."
        )
    return WebhookSink(
        url._replace(fragment="").geturl(),
        token=token,
        tls=_tls_context(options) if url.scheme == "https" else None,
        queue_capacity=options.sink_queue,
        judgements=options.webhook_judgements,
    )


def _tls_context(options: SinkOptions) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=options.sink_ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise SinkError(
            f"--sink-ca-file '{options.sink_ca_file}' cannot be used: {error.strerror or error}. A PEM file with "
            "certificates was expected."
        ) from None


def _host_name() -> str:
    return re.sub(r"[^a-zA-Z0-9_-]+", "-", socket.gethostname().partition(".")[0]) or "device"
