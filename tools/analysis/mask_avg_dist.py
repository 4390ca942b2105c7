#!/usr/bin/env python
"""`simmim mask-stats` as a script: python tools/analysis/mask_avg_dist.py [CONFIG]."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('mask-stats')
