#!/usr/bin/env python
"""`simmim knn` as a script: python tools/analysis/knn.py CHECKPOINT DATA."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['knn', *sys.argv[1:]])
