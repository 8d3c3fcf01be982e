"""Parser that turns the octets of a message into a Message (RFC 5322, MIME)."""
