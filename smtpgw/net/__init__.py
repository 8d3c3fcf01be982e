"""Sockets, TLS and the PROXY protocol."""
