"""A launch from its checks to its comparison."""
