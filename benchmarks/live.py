"""Time the live explorers of the built book in headless Chromium, which works in a worker.

Pages are timed from a cold load until the sliders of their first explorer, started at once, are
there and answer.
``python -m benchmarks.live`` prints medians, after ``make book``; ``--out results/bench/live.json``
stores them.
"""

import base64
import importlib.util
import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from dashlib import results
from dashlib.checkpoints import write_atomically

REPEATS = 5
NETWORKS = {"teacher": "digits/teacher-tirt", "student": "digits/dash-transfer-s0"}
BOOK = Path(__file__).parents[1] / "book"
EXTENSION, BUILT = BOOK / "_ext/dash_live.py", BOOK / "_build/html"
PAGES = {"index": "the landing page", "notebooks/03_dual_branch_distillation": "chapter 3"}
DRIVER = """async ({ source, networks, picture, student, repeats }) => {
  const worker = new Worker(URL.createObjectURL(new Blob([source])));
  await new Promise((ready) => { worker.onmessage = ready; });
  const run = (task, args) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.error) reject(new Error(data.error));
      else if ("answer" in data) resolve(data.answer);
    };
    worker.postMessage({ id: 1, task, args });
  });
  const timed = async (task, args) => {
    const start = performance.now();
    await run(task, args);
    return (performance.now() - start) / 1000;
  };
  const seconds = {};
  for (const [name, { config, base64 }] of Object.entries(networks)) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    await run("load", { name, config, bytes });
    seconds[`a picture of the ${name}`] = [];
    for (let i = 0; i < repeats; i++) {
      seconds[`a picture of the ${name}`].push(await timed("sample", { name, ...picture }));
    }
  }
  seconds["200 training steps of the playground's student"] = [await timed("train", student)];
  return seconds;
}"""


def until_usable(browser: Browser, name: str) -> float:
    """Seconds from a cold load of a page until a slider of its first explorer takes a value."""
    context = browser.new_context()
    page, start = context.new_page(), time.perf_counter()
    page.goto((BUILT / f"{name}.html").as_uri(), wait_until="commit")
    page.locator(".dash-live-start").first.click()
    slider = page.locator(".dash-live input[type=range]").first
    slider.fill(slider.get_attribute("max") or "")
    seconds = time.perf_counter() - start
    context.close()
    return seconds


def measure() -> dict[str, Any]:
    """Seconds by what was done, each the median of its repetitions, and the browser."""
    spec = importlib.util.spec_from_file_location("dash_live", EXTENSION)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(EXTENSION)
    live = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(live)
    networks = {}
    for key, name in NETWORKS.items():
        run = results.load(name)
        (path,) = run.folder.glob("weights-*.safetensors")
        weights = base64.b64encode(path.read_bytes()).decode()
        networks[key] = {"config": run.config["unet"], "base64": weights}
    settings = {"schedule": "constant", "w": 4, "steps": 50}
    student = {"objective": "dash", "importance": [1] * 1000, "steps": 200, "seed": 1}
    job = {"source": live.script(), "networks": networks, "student": student, "repeats": REPEATS}
    job["picture"] = {"y": [3], "seed": 1, "settings": settings}
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        seconds = browser.new_page().evaluate(DRIVER, job)
        for name, what in PAGES.items():
            times = [until_usable(browser, name) for _ in range(REPEATS)]
            seconds[f"{what}, from its load until a slider can be moved"] = times
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        return {"browser": f"Chromium {browser.version}", "seconds": medians}


def main() -> None:
    """Print the medians, and store them if asked."""
    found = measure()
    for name, seconds in found["seconds"].items():
        print(f"{name:58} {seconds:6.2f} s")
    if "--out" in sys.argv:
        noted = {"commit": results.commit(), "hardware": results.hardware()}
        path = Path(sys.argv[sys.argv.index("--out") + 1])
        write_atomically(path, (json.dumps({**noted, **found}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
