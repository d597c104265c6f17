"""Tasks that do real work on real files, for the demo and the tutorial."""
