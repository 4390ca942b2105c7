#!/usr/bin/env python
"""`simmim test` as a script: python tools/test.py CONFIG CHECKPOINT."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('test')
