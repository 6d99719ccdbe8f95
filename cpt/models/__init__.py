"""Base models and tokenizers: hub ids, local folders, and the toy world's stand-ins."""
