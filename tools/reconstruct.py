#!/usr/bin/env python
"""`simmim reconstruct` as a script: python tools/reconstruct.py CHECKPOINT IMAGES."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['reconstruct', *sys.argv[1:]])
