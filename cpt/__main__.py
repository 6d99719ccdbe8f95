"""`python -m cpt` is the console script `cpt`."""

from cpt.cli import main

main()
