#!/usr/bin/env python
"""`simmim compare` as a script: python tools/compare.py TASK DATA --checkpoints FILE."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['compare', *sys.argv[1:]])
