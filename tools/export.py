#!/usr/bin/env python
"""`simmim export` as a script: python tools/export.py CHECKPOINT --to LIBRARY --out FILE."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['export', *sys.argv[1:]])
