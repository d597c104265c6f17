"""The scaler: sizes a fleet of workers from queue depth."""
