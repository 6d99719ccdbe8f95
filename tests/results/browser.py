"""A headless Chromium for the tests of pages: opened by `chromium`, and asked here what it showed, said and fetched.

Debian's packages chromium and chromium-driver, driven through selenium. Nothing is looked up by a name but this
machine's own: a page that asks for something elsewhere does not get it, and the request is on record all the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.remote.webdriver import WebDriver
from waiting import PATIENCE

from cpt.files import locked

HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP, PHONE = (1280, 900), (390, 844)
"""Width and height in CSS pixels."""
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
ARGUMENTS = (
    "--headless=new",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--no-default-browser-check",
    "--no-first-run",
)


def needed(*programs: str) -> None:
    """Skip what needs programs that are not here; a check that must hold before a change lands fails instead."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    said = f"{', '.join(missing)} not found: Debian has them in chromium, chromium-driver and npm"
    if os.environ.get("CI") == "true":
        pytest.fail(said)
    pytest.skip(said)


@contextmanager
def chromium(tmp: Path) -> Iterator[WebDriver]:
    """A browser of its own, with its profile in that folder; it keeps what it logs and every request it makes."""
    needed("chromium", "chromedriver")
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp / 'profile'}", f"--window-size={DESKTOP[0]},{DESKTOP[1]}"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses root one
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(PATIENCE)
        driver.set_script_timeout(PATIENCE)
        driver.get("about:blank")
        requests(driver)  # those of the page that a browser begins with
        yield driver
    finally:
        driver.quit()


def resize(driver: WebDriver, size: tuple[int, int]) -> None:
    """Give the page that many CSS pixels: a window cannot be as narrow as a phone."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(driver: WebDriver, scheme: str = "", media: str = "") -> None:
    """Have the system prefer a `light` or `dark` scheme, or lay the page out for `print`."""
    features = [{"name": "prefers-color-scheme", "value": scheme}] if scheme else []
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def complaints(driver: WebDriver) -> list[str]:
    """What the console has shown since it was last asked: errors, warnings and all."""
    return [entry["message"] for entry in driver.get_log("browser")]  # type: ignore[attr-defined]


def requests(driver: WebDriver) -> list[str]:
    """The address of everything asked for since it was last asked, pages included."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]  # type: ignore[attr-defined]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    opened = [event["params"]["url"] for event in events if event["method"] == "Network.webSocketCreated"]
    return sent + opened


def axe() -> str:
    """The source of axe-core, in the version that package.json names, fetched by npm once."""
    needed("npm")
    wanted = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["devDependencies"]["axe-core"]
    with locked(HERE / "node_modules.lock"):
        if not _is_there(wanted):
            command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=PATIENCE)
    return AXE.read_text(encoding="utf-8")


def _is_there(version: str) -> bool:
    about = AXE.with_name("package.json")
    return about.exists() and json.loads(about.read_text(encoding="utf-8"))["version"] == version


def violations(driver: WebDriver, source: str, but: str = "") -> list[str]:
    """What axe finds wrong with the page as it is now, parts left out: rule, impact and the first elements it is of."""
    driver.execute_script(source)
    options = {"runOnly": {"type": "tag", "values": list(RULES)}, "resultTypes": ["violations"]}
    found: dict[str, Any] = driver.execute_async_script(
        "const [looked, how, done] = arguments; axe.run(looked, how).then(done, e => done({error: String(e)}));",
        {"include": ["html"], "exclude": [but] if but else []},
        options,
    )
    assert "error" not in found, found["error"]
    return [
        f"{rule['id']} ({rule['impact']}, {len(rule['nodes'])}): {rule['help']}: "
        + " | ".join(f"{node['html'][:150]} {node['failureSummary'][:200]}" for node in rule["nodes"][:3])
        for rule in found["violations"]
    ]
