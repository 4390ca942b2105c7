#!/usr/bin/env python
"""`simmim train` as a script: python tools/train.py CONFIG."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['train', *sys.argv[1:]])
