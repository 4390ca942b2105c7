#!/usr/bin/env python
"""`simmim convert` as a script: python tools/convert.py SOURCE TARGET."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('convert')
