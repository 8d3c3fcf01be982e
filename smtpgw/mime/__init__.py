"""What a message is made of (RFC 5322, 2045 to 2049, 2231, 3676), each piece a few pure functions for `message.py`."""
