#!/usr/bin/env python
"""`simmim reconstruct` as a script: python tools/reconstruct.py CHECKPOINT IMAGES."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('reconstruct')
