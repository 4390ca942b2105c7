#!/usr/bin/env python
"""`simmim mask-samples` as a script: python tools/analysis/mask_samples.py IMAGES."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['mask-samples', *sys.argv[1:]])
