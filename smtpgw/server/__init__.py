"""The gunicorn master, its workers and probes."""
