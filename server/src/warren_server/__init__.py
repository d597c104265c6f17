"""The HTTP server: accepts jobs, publishes them, and projects what became of them into a store."""
