"""The reading of messages, by another way than the gateway's."""
