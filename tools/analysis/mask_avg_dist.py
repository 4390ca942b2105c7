#!/usr/bin/env python
"""`simmim mask-stats` as a script: python tools/analysis/mask_avg_dist.py [CONFIG]."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['mask-stats', *sys.argv[1:]])
