"""Part of tfganomaly: where frames come from."""
