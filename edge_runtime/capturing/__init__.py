"""Part of tfganomaly: takes photographs of parts, to train and calibrate on."""
