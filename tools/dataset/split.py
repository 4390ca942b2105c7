#!/usr/bin/env python
"""`simmim split` as a script: python tools/dataset/split.py FOLDER."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['split', *sys.argv[1:]])
