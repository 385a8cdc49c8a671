"""Part of tfganomaly: the HTTP service on the device."""
