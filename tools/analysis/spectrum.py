#!/usr/bin/env python
"""`simmim spectrum` as a script: python tools/analysis/spectrum.py CHECKPOINT IMAGES."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['spectrum', *sys.argv[1:]])
