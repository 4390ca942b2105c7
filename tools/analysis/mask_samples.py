#!/usr/bin/env python
"""`simmim mask-samples` as a script: python tools/analysis/mask_samples.py IMAGES."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('mask-samples')
