"""``python -m simmim_mm.cli``: the command `simmim`, where it is not on the path."""

from simmim_mm.cli import main

if __name__ == '__main__':
    main()
