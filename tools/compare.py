#!/usr/bin/env python
"""`simmim compare` as a script: python tools/compare.py TASK DATA --checkpoints FILE."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('compare')
