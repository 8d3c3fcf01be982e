"""Messages, each an .eml beside the .json of what must become of it; the modules here write those that are made."""
