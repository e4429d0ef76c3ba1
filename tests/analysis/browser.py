"""Chromium without a window, driven through chromedriver by plain HTTP: what a test of a page
needs, and no more.
"""

import base64
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
DRIVER = shutil.which("chromedriver")
PATIENCE = 300  # seconds: a busy machine that draws without a graphics card is slow
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


class Browser:
    """A browser whose profile is `folder`, which has to be empty. Use it as a context manager."""

    def __init__(self, folder: Path, *, width: int = 1280, height: int = 900):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.driver = subprocess.Popen(
            [DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        options = {
            "binary": CHROMIUM,
            "args": [*SWITCHES, f"--window-size={width},{height}", f"--user-data-dir={folder}"],
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "timeouts": {"script": 1000 * PATIENCE, "pageLoad": 1000 * PATIENCE},  # ms
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        try:
            self._wait_for_driver()
            self.session = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})[
                "sessionId"
            ]
        except Exception:
            self.driver.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._call("DELETE", f"/session/{self.session}")
        finally:
            self.driver.terminate()
            self.driver.wait(10)

    def open(self, path: Path) -> None:
        """Show a file."""
        self._own("/url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments):
        """What a script returns; `arguments` are its arguments[0], ..."""
        return self._own("/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, *, seconds: float = PATIENCE):
        """What a script returns as soon as that is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.2)
        return value

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self._call("GET", f"/session/{self.session}/screenshot"))

    def resize(self, width: int, height: int) -> None:
        """Give the page another size."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def command(self, name: str, **parameters):
        """A command of the DevTools protocol."""
        return self._own("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def click(self, x: float, y: float) -> None:
        """Press and release the mouse at a place of the window."""
        self.drag([(x, y)])

    def drag(self, places, *, modifiers: int = 0) -> None:
        """Press the mouse at the first place, move it through the others, release it.

        `modifiers` are keys that are held: 1 for Alt, 8 for Shift.
        """
        events = [
            ("mousePressed", places[0]),
            *(("mouseMoved", place) for place in places[1:]),
            ("mouseReleased", places[-1]),
        ]
        for kind, (x, y) in events:
            self.command(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                buttons=1,
                clickCount=1,
                modifiers=modifiers,
            )

    def log(self, kind: str) -> list[dict]:
        """Entries since the last call: of the "browser" console, or of "performance", which holds
        all requests.
        """
        return self._own("/se/log", {"type": kind})

    def requests(self) -> list[str]:
        """Addresses that the page has asked for, since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def _own(self, path, content):
        return self._post(f"/session/{self.session}{path}", content)

    def _post(self, path, content):
        return self._call("POST", path, content)

    def _call(self, method, path, content=None):
        data = None if content is None else json.dumps(content).encode()
        request = Request(
            self.address + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urlopen(request, timeout=PATIENCE) as answer:
                return json.loads(answer.read())["value"]
        except HTTPError as error:
            raise RuntimeError(json.loads(error.read())["value"]["message"]) from error

    def _wait_for_driver(self):
        end = time.monotonic() + 30
        while True:
            try:
                return self._call("GET", "/status")
            except OSError:
                if time.monotonic() > end or self.driver.poll() is not None:
                    raise
                time.sleep(0.1)
