"""Part of tfganomaly: the loop that judges frames for months, and what it reports."""
