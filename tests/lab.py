"""A JupyterLab of its own in a headless browser: nothing of the user's is read or written."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from urllib.parse import urlsplit

import nbformat

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# It reaches this machine alone, runs in a container, and needs no screen.
BROWSER_ARGUMENTS = [
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--disable-dev-shm-usage",
    "--disable-gpu",
]
SETTINGS = {  # what asks other hosts, or stands in the way of a picture
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
SECONDS = 90  # after which whatever is waited for has failed


def browser():
    """The path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def write_notebook(path, cells):
    """Write a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)


@contextlib.contextmanager
def running_lab(folder):
    """Start JupyterLab on folder/notebooks, and give its address; what it says is in lab.log."""
    settings = folder / "config" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(SETTINGS))
    home = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "HOME": "home",
    }
    kept = {name: text for name, text in os.environ.items() if not name.startswith("JUPYTER")}
    # Whatever asks for a host outside meets a proxy that nobody answers.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = {
        **kept,
        **nowhere,
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **{name: str(folder / place) for name, place in home.items()},
    }
    command = [
        *(sys.executable, "-m", "jupyterlab"),
        *("--no-browser", "--allow-root", "--expose-app-in-browser"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"),
        f"--ServerApp.root_dir={folder / 'notebooks'}",
        *("--LabApp.extension_manager=readonly", "--LabApp.news_url=None"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with (folder / "lab.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield _address(folder, server)
    finally:
        server.terminate()  # it shuts its kernels down
        server.wait(SECONDS)


def _address(folder, server):
    """What the server says of itself, as soon as it answers."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        for file in (folder / "runtime").glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # half written
                said = json.loads(file.read_text())
                return f"{said['url']}lab", said["token"]
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{(folder / 'lab.log').read_text()}")


class Page:
    """A browser page on a notebook of a running lab.

    Attributes
    ----------
    page : playwright page
    asked : list of str
        The addresses outside the lab that were requested.
    errors : list of str
        What the console reported as an error.
    """

    def __init__(self, browser, address, notebook):
        (url, token), self.host = address, urlsplit(address[0]).netloc
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.asked, self.errors = [], []
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("websocket", lambda socket: self._request(socket.url))
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.set_default_timeout(1000 * SECONDS)
        self.page.goto(f"{url}/tree/{notebook}?reset&token={token}")
        self.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext")

    def _request(self, url):
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self.host:
            self.asked.append(url)

    def command(self, name, **given):
        """Execute a command of JupyterLab, and wait until it is done."""
        self.page.evaluate(
            "([name, given]) => jupyterapp.commands.execute(name, given).then(() => null)",
            [name, given],
        )

    def set_theme(self, theme):
        """Change to "JupyterLab Light" or "JupyterLab Dark", in the page that is open."""
        self.command("apputils:change-theme", theme=theme)
        self.page.wait_for_function(
            "theme => document.body.dataset.jpThemeName === theme", arg=theme
        )

    def run_all(self):
        """Run every cell, and wait until the last is done."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.ready")
        self.command("notebook:run-all-cells")
        self.page.wait_for_function(
            "() => ![...document.querySelectorAll('.jp-InputPrompt')]"
            ".some(prompt => prompt.textContent.includes('*'))"
        )
