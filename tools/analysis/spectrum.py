#!/usr/bin/env python
"""`simmim spectrum` as a script: python tools/analysis/spectrum.py CHECKPOINT IMAGES."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('spectrum')
