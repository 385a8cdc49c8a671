"""Part of tfganomaly: from scores of good images to a threshold and what it promises."""
