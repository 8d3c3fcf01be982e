"""`serve` as it is, in a process that may have only FEW_DESCRIPTORS files open, by its soft and its hard limit."""

import os
import resource
import sys

from smtpgw.commands import serve

if __name__ == "__main__":
    soft, hard = map(int, os.environ["FEW_DESCRIPTORS"].split())
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    sys.exit(serve.main(sys.argv[1:]))
