"""One installation with a worker set for each autoscaler: what each does with the same load, and what it costs jobs."""
