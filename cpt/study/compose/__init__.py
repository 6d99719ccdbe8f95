"""From a command line to typed configurations."""
