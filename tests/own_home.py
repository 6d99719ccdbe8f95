"""A temporary home folder for the tests: to be imported before any library that reads or writes the user's own."""

import os
import tempfile
from pathlib import Path

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
USER_SETTINGS = [
    *("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "NETRC"),
    *("WANDB_API_KEY", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"),
]

if not IS_WORKER:  # workers inherit the environment of the process that starts them
    os.environ["CPT_TESTS_HOME"] = tempfile.mkdtemp(prefix="cpt-tests-home-")
    for name in USER_SETTINGS:
        os.environ.pop(name, None)
HOME = Path(os.environ["CPT_TESTS_HOME"])
os.environ["HOME"] = str(HOME)
for name, folder in {"CACHE": ".cache", "CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state"}.items():
    os.environ[f"XDG_{name}_HOME"] = str(HOME / folder)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models lose more by sharing work than they gain
