"""Files for several people: what others of a project may do with them is the umask's to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WRITE = """
import os, sys
from pathlib import Path
from cpt.files import replacing_folder, write_json
folder = Path(sys.argv[1])
os.umask(int(sys.argv[2], 8))
write_json(folder / "study/file.json", {})
with replacing_folder(folder / "study/folder") as made:
    (made / "inside").touch()
"""


@pytest.mark.parametrize(("umask", "file", "directory"), [("002", 0o664, 0o775), ("077", 0o600, 0o700)])
def test_the_umask_decides_who_may_write(tmp_path: Path, umask: str, file: int, directory: int) -> None:
    subprocess.run([sys.executable, "-c", WRITE, tmp_path, umask], check=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"study": directory, "file.json": file, "folder": directory, "inside": file}
