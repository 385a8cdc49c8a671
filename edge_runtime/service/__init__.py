"""Part of tfganomaly: files that make a service of a watch; no code."""
