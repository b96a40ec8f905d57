"""The page in a real browser, in front of Airflow's own API app: numbers, rights, markup in data, keys, errors."""

import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from plugin_server import Server

from airflow_home import ROOT
from browser import Person, chromium, needs_browser

pytestmark = [pytest.mark.slow, needs_browser]

STATIC = ROOT / "plugins" / "satseg_ui" / "static"
MARKUP = "<img src=x onerror=alert(1)>Roofs & <b>fields</b>"
Visit = Callable[..., Person]


@pytest.fixture(scope="module")
def address(server: Server) -> Iterator[str]:
    """Airflow's app on a port of its own, with a project full of markup and one whose file is broken."""
    from plugin_world import Size, make_project

    from satseg.storage.layout import Workspace

    make_project(server.projects, Workspace(server.workspace), "fields", Size(1, 1, 1, 1, 1), description=MARKUP)
    (server.projects / "broken.yaml").write_text("name: broken\nclases: [building]\n")
    (server.projects / "empty.yaml").write_text("name: empty\nclasses: [building]\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(server.client.app, host="127.0.0.1", port=port, lifespan="off", log_level="warning")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join(timeout=20)
    for name in ("fields", "broken", "empty"):
        (server.projects / f"{name}.yaml").unlink()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as made:
        yield made


@pytest.fixture
def visit(server: Server, address: str, browser: Any) -> Iterator[Visit]:
    """Open the page of a project as somebody; in the end the browser has complained about nothing."""
    people: list[Person] = []

    def make(user: str, project: str = "houses", section: str = "loop", **context: Any) -> Person:
        person = Person(browser, address, user, **context)
        people.append(person)
        person.take_login(server.tokens[user])
        person.open(project, section)
        return person

    yield make
    for person in people:
        assert (person.complaints, person.foreign) == ([], [])
        person.close()


def test_panels_show_what_is_in_the_workspace(visit: Visit) -> None:
    page = visit("viewer")
    champion = page.words("champion")
    assert "v2" in champion
    assert "0.610" in champion
    assert "0.550 to 0.660" in champion
    assert "promoted by the gates" in champion
    assert "1 of 1 gates passed" in champion
    assert "v3" in page.words("challenger")
    assert page.panel("models").locator("tbody tr").count() == 3
    assert page.panel("data").locator("tbody tr").count() == 3
    assert "an episode is open since night 2026-01-04" in page.words("drift")
    assert page.panel("drift").locator("svg .night.alarm").count() == 2  # the night and the key
    assert "60 (50% labelled)" in page.words("split-map")
    assert page.panel("maps").locator(".map-entry").count() == 4
    page.page.wait_for_function(
        "() => [...document.querySelectorAll('.tiles img')].some(tile => tile.naturalWidth === 256)"
    )


def test_buttons_are_those_the_reader_may_use(visit: Visit) -> None:
    starts = {"Ingest …", "Make maps …", "Train a model …", "Test now …", "Retrain …"}
    decides = {"Roll back to v1 …", "Promote v3 …"}
    for user, expected in (("viewer", set()), ("user", starts), ("op", starts | decides)):
        shown = {text.strip() for text in visit(user).page.locator(".panel-head button").all_inner_texts()}
        assert shown & (starts | decides) == expected, user


def test_markup_in_data_stays_text(visit: Visit) -> None:
    page = visit("viewer", "fields")
    assert MARKUP in page.words("loop")
    assert page.page.locator("main img[src=x]").count() == 0


def test_empty_project_says_what_comes_first_and_a_broken_one_what_is_wrong(visit: Visit) -> None:
    page = visit("admin", "empty")
    for panel, words in (
        ("champion", "No model is in production yet"),
        ("maps", "No scene has been mapped yet"),
        ("drift", "No night has been tested yet"),
        ("data", "There is no dataset yet"),
        ("split-map", "No patches have been cut yet"),
        ("training", "Nothing has been trained yet"),
        ("history", "Nothing has been decided yet"),
    ):
        assert words in page.words(panel)
    page.page.get_by_label("Project").select_option("broken")
    page.page.get_by_text("This project's file cannot be read").wait_for()
    assert "clases" in page.page.locator("main").inner_text()


def test_upload_waits_in_the_drop_zone_and_a_refused_one_says_why(visit: Visit, server: Server, tmp_path: Path) -> None:
    page = visit("user", section="drop-zone")
    scene, text = tmp_path / "new.tif", tmp_path / "notes.txt"
    shutil.copyfile(server.workspace / "data" / "houses" / "scenes" / "scene-0.tif", scene)
    text.write_text("no scene")
    page.page.set_input_files("#upload", [scene, text])
    refused = page.page.get_by_role("alert")
    refused.get_by_text("notes.txt").wait_for()
    assert "Only scenes and label files" in refused.inner_text()
    page.panel("drop-zone").get_by_text("new.tif").wait_for()
    assert [path.name for path in (server.workspace / "incoming" / "houses").iterdir()] == ["new.tif"]
    page.panel("drop-zone").get_by_role("button", name="Remove new.tif").click()
    page.page.locator("dialog").get_by_role("button", name="Remove the file").click()
    page.panel("drop-zone").get_by_text("The drop zone is empty").wait_for()
    page.complaints[:] = [
        one for one in page.complaints if "415" not in one and "422" not in one
    ]  # the browser's own line


def test_training_is_started_by_keys_alone(visit: Visit) -> None:
    page = visit("user", section="training")
    button = page.panel("training").get_by_role("button", name="Train a model")
    button.focus()
    page.page.keyboard.press("Enter")
    dialog = page.page.get_by_role("dialog", name="Train a model")
    dialog.wait_for()
    page.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert button.evaluate("button => button === document.activeElement")
    page.page.keyboard.press("Enter")
    dialog.get_by_label(re.compile("^epochs", re.IGNORECASE)).fill("2")
    page.page.keyboard.press("Enter")
    dialog.wait_for(state="detached")
    page.page.get_by_role("status").get_by_text("Training started").wait_for()
    page.panel("runs").get_by_role("row").filter(has_text="model_training").first.wait_for()


def test_refusal_is_shown_in_the_dialog_with_the_next_step(visit: Visit, server: Server) -> None:
    page = visit("op")
    page.panel("champion").get_by_role("button", name="Roll back").click()
    page.take_login(server.tokens["user"])  # the right is gone since the page was drawn
    dialog = page.page.locator("dialog")
    dialog.get_by_label("Reason").fill("why not")
    dialog.get_by_role("button", name="Roll back").click()
    trouble = dialog.get_by_role("alert")
    trouble.wait_for()
    assert "You may not rollback in project 'houses'" in trouble.inner_text()
    assert "role Op or Admin" in trouble.inner_text()
    assert dialog.is_visible()
    page.complaints.clear()  # the browser's own line about the 403


def test_lost_server_is_told_and_the_page_stays(visit: Visit) -> None:
    page = visit("viewer")
    page.context.set_offline(True)
    page.panel("runs").get_by_label("DAG").select_option("model_training")
    page.panel("runs").get_by_text("The server does not answer").wait_for()
    assert "v2" in page.words("champion")
    page.context.set_offline(False)
    page.panel("runs").get_by_role("button", name="Try again").click()
    page.panel("runs").get_by_text("The server does not answer").wait_for(state="detached")
    page.complaints.clear()  # the browser's own lines about lost requests


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_on_their_ground(visit: Visit, scheme: str) -> None:
    page = visit("admin", color_scheme=scheme)
    worst = page.page.evaluate(CONTRAST)
    assert not worst, worst


def test_on_a_small_screen_map_and_chart_have_the_whole_width(visit: Visit) -> None:
    page = visit("viewer")
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.open("houses")
    for shown in (".map-view", ".map-list", ".drift .chart", ".features"):
        assert page.page.locator(shown).bounding_box()["width"] > 300, shown


def test_every_control_has_a_name_and_every_landmark_is_there(visit: Visit) -> None:
    page = visit("admin")
    assert page.page.evaluate(NAMELESS) == []
    for role in ("banner", "main", "navigation"):
        assert page.page.get_by_role(role).count() == 1
    assert page.page.locator("section.panel:not([aria-labelledby])").count() == 0


def test_all_modules_are_announced_so_that_they_load_side_by_side() -> None:
    told = set(re.findall(r'rel="modulepreload" href="([^"]+)"', (STATIC / "index.html").read_text()))
    there = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")} - {"app.js"}
    assert told == there


def test_nothing_is_put_into_the_page_as_markup_or_from_elsewhere() -> None:
    for path in STATIC.rglob("*.*"):
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), path
        foreign = re.sub(r"http://www\.w3\.org/2000/svg", "", text)
        assert not re.search(r"https?://", foreign), path


# contrast of every visible text with the nearest ground behind it; WCAG 2.2, 1.4.3
CONTRAST = """() => {
  const rgb = (value) => (value.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const element of document.querySelectorAll("main *, header *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const style = getComputedStyle(element);
    if (!own || !element.getClientRects().length || element.closest("svg, :disabled, .unseen, option")) continue;
    const [front, back] = [light(rgb(style.color)), light(ground(element))];
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 4.5) bad.push(`${element.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return bad;
}"""

NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, textarea, [role=img], [tabindex='0']")]
  .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim() || one.alt))
  .map((one) => one.outerHTML.slice(0, 80))"""
