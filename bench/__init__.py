"""Side-by-side benchmarks: Warren, the Python systems people use on RabbitMQ, raw pika and RabbitMQ's own PerfTest.

`python -m bench` runs them all against one broker, in interleaved rounds, and writes `report.md`, `results.json` and
plots. A contender is one class in one file of `bench/contenders`; a measure is one module of `bench/measures`.
"""
