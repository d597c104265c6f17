"""Replays of arrivals against scaling rules: what `warren bench scaling` shows.

A discrete-event model of a queue, its workers and what starts and stops them; no broker, no cluster, no clock.
"""
