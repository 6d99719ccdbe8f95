"""A study: its runs planned, carried out stage by stage, resumed, and watched."""
