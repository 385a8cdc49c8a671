"""Part of tfganomaly: where the events of a watch go."""
