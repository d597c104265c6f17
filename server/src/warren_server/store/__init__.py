"""The store: what the server remembers of jobs, a projection of events in SQLite or PostgreSQL."""
