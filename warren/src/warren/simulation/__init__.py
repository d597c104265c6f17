"""Replays of arrivals against scaling rules: what `warren bench scaling` shows."""
