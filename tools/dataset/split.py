#!/usr/bin/env python
"""`simmim split` as a script: python tools/dataset/split.py FOLDER."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('split')
