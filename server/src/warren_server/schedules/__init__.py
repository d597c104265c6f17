"""Schedules: jobs submitted by the clock, each tick exactly once however many servers there are."""
