"""Text to training sequences: tokenised once into shards, chosen by budget, mixed and packed."""
