"""Cakemail's Email API."""
