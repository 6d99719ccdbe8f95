"""The toy world: a synthetic stand-in for every language of the registry, so that the whole study runs anywhere."""
