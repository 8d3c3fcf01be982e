"""Control headers of Cakemail and of the relays customers come from, read into the options of a submission."""

from smtpgw.dialects.options import Finding, Options, Verdict

__all__ = ["Finding", "Options", "Verdict"]
