"""Draws pages of the viewer as PNG: python docs/pages.py runs/demo docs/view-run.png=/ docs/view-list.png=/dialogues

A path may end in @WIDTHxHEIGHT and in +dark. The viewer and the browser are real; see tests/app/web/conftest.py.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PSYLLM = str(Path(sys.executable).parent / "psyllm")


def draw(url: str, pictures: list[str]) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for picture in pictures:
            file, _, wanted = picture.partition("=")
            found = re.fullmatch(r"(.+?)(?:@(\d+)x(\d+))?(\+dark)?", wanted)
            if not found:
                raise SystemExit(f"{picture} is not FILE=PATH[@WIDTHxHEIGHT][+dark]")
            path, width, height, dark = found.groups()
            page = browser.new_page(
                viewport={"width": int(width or 1280), "height": int(height or 900)},
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce",
            )
            page.goto(url + path)
            page.screenshot(path=file)


if __name__ == "__main__":
    command = [PSYLLM, "view", sys.argv[1], "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as viewer:
        words = viewer.stdout.readline() if viewer.stdout else ""
        address = re.search(r"http://[\d.:]+", words)
        if address:
            draw(address[0], sys.argv[2:])
        viewer.send_signal(signal.SIGINT)
