"""The page in a browser that no network reaches: its script works, and no other one runs."""

import html
import json
import re
import shutil
import subprocess

import pytest

from fedjax_diffusion.report.page import render
from fedjax_diffusion.report.sources import read_source
from tests.report.folders import HOSTILE, make_played_sweep, rename_point

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless",
    "--no-sandbox",  # a test may be played by root
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",  # nobody listens there
    "--allow-file-access-from-files",
    "--disable-web-security",  # the frame's content is another origin
    "--virtual-time-budget=10000",
)
FRAME = """<!DOCTYPE html>
<iframe id="frame" src="report.html" width="400" height="800"></iframe>
<script>
const answer = {};
function act(page) {
  const table = page.getElementById("points");
  const heads = [...table.tHead.rows[0].cells];
  const find = (name) => heads.findIndex((head) => head.textContent === name);
  const list = (name) => [...table.tBodies[0].rows].filter((row) => !row.hidden)
      .map((row) => row.cells[find(name)].textContent);
  const tools = table.parentNode.previousElementSibling;
  answer.scripts = page.scripts.length;
  answer.elements = page.querySelectorAll("td script, td img, svg script").length;
  answer.labels = list("label");
  answer.requests = page.defaultView.performance.getEntriesByType("resource").length;
  answer.width = page.documentElement.scrollWidth;
  answer.hidden = heads.filter((head) => head.hidden).map((head) => head.textContent);
  heads[find("seed")].querySelector("button").click();
  answer.ascending = list("seed");
  heads[find("seed")].querySelector("button").click();
  answer.descending = list("seed");
  answer.sorted = heads[find("seed")].getAttribute("aria-sort");
  const search = tools.querySelector("input[type=search]");
  search.value = "FIXED-bits seed-2";
  search.dispatchEvent(new Event("input"));
  answer.filtered = list("label");
  answer.count = tools.querySelector("[role=status]").textContent;
  const box = tools.querySelectorAll("input[type=checkbox]")[find("host")];
  box.click();
  answer.first = heads.find((head) => !head.hidden).cellIndex;
  answer.isHostShown = !heads[find("host")].hidden;
  heads[0].querySelector("button").textContent = "a_name_that_is_wider_than_a_column";
  answer.isHeadTooWide = heads[0].scrollWidth > heads[0].clientWidth;
}
document.getElementById("frame").addEventListener("load", (event) => {
  try { act(event.target.contentDocument); } catch (error) { answer.error = String(error); }
  document.body.append(Object.assign(document.createElement("pre"),
      { textContent: JSON.stringify(answer) }));
});
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_page_works_alone_and_runs_no_script_of_a_folder(tmp_path):
    workdir = make_played_sweep(tmp_path / "sweep", num_seeds=4)
    rename_point(workdir, 0, HOSTILE)
    (tmp_path / "report.html").write_text(render(read_source(workdir), []))
    (tmp_path / "frame.html").write_text(FRAME)
    command = [
        BROWSER,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        (tmp_path / "frame.html").as_uri(),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    seen = json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", answer.stdout)[1]))
    assert "error" not in seen
    assert (seen["scripts"], seen["elements"], seen["requests"]) == (1, 0, 0)
    assert seen["labels"][0] == HOSTILE
    assert seen["width"] <= 400, "only tables and figures are wider than a phone"
    assert "total_joules.demand" in seen["hidden"]
    assert seen["ascending"] == ["0", "0", "1", "1", "2", "2", "3", "3"]
    assert seen["descending"] == seen["ascending"][::-1]
    assert seen["sorted"] == "descending"
    assert seen["filtered"] == ["method-fixed-bits-8+seed-2"]
    assert seen["count"] == "1 of 8 rows"
    assert seen["first"] == 0, "the rules of a first column are those of one that is shown"
    assert seen["isHostShown"]
    assert not seen["isHeadTooWide"], "it would cover the head of the next column"
