#!/usr/bin/env python
"""`simmim test` as a script: python tools/test.py CONFIG CHECKPOINT."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['test', *sys.argv[1:]])
