"""A study on a cluster: its stages as jobs, sent by submitit."""
