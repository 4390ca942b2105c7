#!/usr/bin/env python
"""`simmim convert` as a script: python tools/convert.py SOURCE TARGET."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['convert', *sys.argv[1:]])
