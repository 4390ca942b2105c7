#!/usr/bin/env python
"""`simmim coverage` as a script: python tools/analysis/object_coverage.py COCO_JSON."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['coverage', *sys.argv[1:]])
