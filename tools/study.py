#!/usr/bin/env python
"""`simmim sweep` as a script: python tools/study.py SWEEP."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('sweep')
