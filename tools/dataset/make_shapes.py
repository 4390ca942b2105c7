#!/usr/bin/env python
"""`simmim make-shapes` as a script: python tools/dataset/make_shapes.py OUT."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['make-shapes', *sys.argv[1:]])
