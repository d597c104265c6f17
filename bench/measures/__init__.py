"""The measures, one module each: `quantities(size)` says what it measures, `measure(stage)` does it."""
