"""The worker: consumes jobs, runs tasks, settles what came of them."""
