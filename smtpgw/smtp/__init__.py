"""The SMTP session."""
