"""The commands of `python -m smtpgw`."""
