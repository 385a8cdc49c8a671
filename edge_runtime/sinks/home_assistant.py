"""Describes a watch to Home Assistant: the discovery messages of one device and its entities.

Source: Home Assistant's documentation of MQTT discovery and of its MQTT binary sensor, sensor, number and button. Each
entity has a retained message under `<discovery prefix>/<component>/<device id>/<object id>/config`, which every version
of Home Assistant understands.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from edge_runtime.json_bytes import json_bytes
from edge_runtime.version import __version__

ONLINE, OFFLINE = "online", "offline"


def device_id(topic_prefix: str) -> str:
    """Return the name of a device made of the letters that discovery topics may have, the same after each start.

    Each prefix has a name of its own: where a letter had to be replaced, digits of a checksum tell it from others.
    """
    name = "tfganomaly_" + re.sub(r"[^a-zA-Z0-9]+", "_", topic_prefix).strip("_").lower()
    if re.fullmatch(r"[a-z0-9]+(/[a-z0-9]+)*", topic_prefix):
        return name
    return f"{name}_{hashlib.sha256(topic_prefix.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def discovery_messages(discovery_prefix: str, topic_prefix: str, device_name: str) -> dict[str, bytes]:
    """Return the discovery payloads by topic; all are to be retained.

    Args:
        discovery_prefix: Home Assistant's, "homeassistant" unless its user has changed it.
        topic_prefix: Where the watch publishes.
        device_name: What people call the device.
    """
    identity = device_id(topic_prefix)
    shared: dict[str, Any] = {
        "availability_topic": f"{topic_prefix}/availability",
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "qos": 1,
        "device": {
            "identifiers": [identity],
            "name": device_name,
            "manufacturer": "tfganomaly",
            "model": "Visual inspection",
            "sw_version": __version__,
        },
        "origin": {"name": "tfganomaly", "sw_version": __version__},
    }
    messages = {}
    for component, object_id, entity in _entities(topic_prefix):
        payload = {**entity, "unique_id": f"{identity}_{object_id}", **shared}
        topic = f"{discovery_prefix}/{component}/{identity}/{object_id}/config"
        messages[topic] = json_bytes(payload, not_utf8="replace")  # as the retained topics
    return messages


def _entities(topic_prefix: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (component, object id, configuration) of each entity. A missing value is sent as None: unknown."""
    state, health = f"{topic_prefix}/state", f"{topic_prefix}/health"
    score_template = "{{ value_json.%s }}"
    return [
        (
            "binary_sensor",
            "alarm",
            {
                "name": "Alarm",
                "device_class": "problem",
                "state_topic": state,
                "value_template": "{{ value_json.alarm }}",
                "payload_on": "on",
                "payload_off": "off",
                "json_attributes_topic": f"{topic_prefix}/alarm",
            },
        ),
        (
            "sensor",
            "score",
            {
                "name": "Score",
                "icon": "mdi:chart-bell-curve",
                "state_class": "measurement",
                "suggested_display_precision": 4,
                "state_topic": state,
                "value_template": score_template % "score",
            },
        ),
        (
            "sensor",
            "normalised_score",
            {
                "name": "Normalised score",
                "icon": "mdi:chart-bell-curve-cumulative",
                "state_class": "measurement",
                "suggested_display_precision": 3,
                "state_topic": state,
                "value_template": score_template % "normalised_score",
            },
        ),
        (
            "binary_sensor",
            "scene_changed",
            {
                "name": "Scene changed",
                "device_class": "problem",
                "entity_category": "diagnostic",
                "state_topic": state,
                "value_template": "{{ 'on' if value_json.scene_changed else 'off' }}",
                "payload_on": "on",
                "payload_off": "off",
            },
        ),
        (
            "binary_sensor",
            "health",
            {
                "name": "Health",
                "device_class": "problem",
                "entity_category": "diagnostic",
                "state_topic": health,
                "value_template": "{{ 'off' if value_json.state == 'ok' else 'on' }}",
                "payload_on": "on",
                "payload_off": "off",
                "json_attributes_topic": health,
            },
        ),
        (
            "number",
            "threshold",
            {
                "name": "Threshold",
                "icon": "mdi:tune-vertical",
                "entity_category": "config",
                "mode": "box",
                "min": 0,
                "max": 1000,
                "step": 0.001,
                "state_topic": state,
                "value_template": score_template % "threshold",
                "command_topic": f"{topic_prefix}/threshold/set",
            },
        ),
        (
            "button",
            "clear_alarm",
            {
                "name": "Clear alarm",
                "icon": "mdi:alarm-light-off",
                "command_topic": f"{topic_prefix}/alarm/clear",
                "payload_press": "clear",
            },
        ),
    ]
