"""What goes wrong in a benchmark."""


class BenchError(Exception):
    """Something could not be measured; the message says what, and what the processes involved said."""
