#!/usr/bin/env python
"""`simmim export` as a script: python tools/export.py CHECKPOINT --to LIBRARY --out FILE."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('export')
