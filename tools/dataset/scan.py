#!/usr/bin/env python
"""`simmim scan` as a script: python tools/dataset/scan.py FOLDER."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['scan', *sys.argv[1:]])
