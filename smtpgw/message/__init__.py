"""Octets to a Message (RFC 5322, MIME)."""
