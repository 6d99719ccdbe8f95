"""The verbs of the `cpt` command, one file each."""
