"""Which language a text is in: a published model where one is given, or a small one trained on what is at hand."""
