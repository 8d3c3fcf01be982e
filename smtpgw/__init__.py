"""An SMTP submission server in front of Cakemail's Email API.

Imports nothing: gunicorn's master imports this package before gevent patches the standard library.
"""

__version__ = "0.1.0"
