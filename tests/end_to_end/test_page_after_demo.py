"""The page against a running Airflow after the demo: its numbers are satseg's, and what is started there happens.

`SATSEG_DEMO_WORKSPACE` names the workspace of a `make demo` to work in; without it a tiny demo runs first.
`SATSEG_PICTURES` names a folder for the pictures of docs/how-to/ui.md, which are taken on the way.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from browser import Person, chromium, needs_browser
from satseg.config.settings import settings
from satseg.registry.audit import AuditEntry, entries
from satseg.storage.layout import Workspace
from satseg.tracking.models import alias_version
from satseg_airflow.demo.chain import Demo
from satseg_airflow.demo.plan import synthetic_plan
from satseg_airflow.demo.screen import LineScreen
from satseg_airflow.embedded.airflow import EmbeddedAirflow, running_airflow
from satseg_airflow.embedded.environment import ROOT, Home

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(5400), needs_browser]

TINY: dict[str, Any] = {
    "name": "tiny",
    "classes": ["building"],
    "gsd_m": 0.15,
    "patches": {"size_px": 64, "stride_px": 64, "block_px": 128, "buffer_m": 1.0},
    "training": {"backbone": "resnet18", "epochs": 2, "steps_per_epoch": 4, "batch_size": 4},
    "retraining": {"epochs": 1},
    "inference": {"window_px": 128},
    "drift": {"patch_px": 64, "permutations": 299, "confirm": {"nights": 1, "of": 1}, "quiet_nights": 1},
}
# whatever a model has learnt, it passes; then a person decides
LENIENT = {"min_iou": 0.0, "max_iou_loss": 1.0, "margin_over_all_positive": -1.0, "slices": [], "min_blocks": 2}
MANUAL = {**LENIENT, "approval": "manual"}
STRICT = {**MANUAL, "min_iou": 0.999}
WITH_UNITS = {"latency_s": "latency, s", "memory_mib": "memory, MiB"}
SETTLED_S = 6.0  # answering at once meets a race in Airflow's executor
RUN_MS = 1_800_000


@dataclass
class World:
    """A workspace after the demo, its Airflow, and a browser."""

    home: Home
    project: dict[str, Any]
    airflow: EmbeddedAirflow
    browser: Any

    @property
    def name(self) -> str:
        return str(self.project["name"])

    def satseg(self, *words: str) -> Any:
        """Return what the command line says."""
        environment = os.environ | {
            "SATSEG_WORKSPACE": str(self.home.workspace.root),
            "SATSEG_PROJECTS_DIR": str(self.home.projects_dir),
        }
        command = [sys.executable, "-m", "satseg", *words, "--project", self.name, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def rules(self, promotion: dict[str, Any]) -> None:
        """Change the project's rules of promotion."""
        text = yaml.safe_dump({**self.project, "promotion": promotion})
        (self.home.projects_dir / f"{self.name}.yaml").write_text(text)

    def champion(self) -> str | None:
        return alias_version(self.home.workspace, self.name, "champion")

    def log(self) -> list[AuditEntry]:
        return entries(self.home.workspace.audit_log(self.name))

    def person(self, user: str, **context: Any) -> Person:
        person = Person(self.browser, self.airflow.url, user, **context)
        person.log_in(self.home.passwords()[user])
        return person


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "projects").mkdir()
    settings.cache_clear()
    made = os.environ.get("SATSEG_DEMO_WORKSPACE")
    project = yaml.safe_load((ROOT / "include/projects/buildings.yaml").read_text()) if made else TINY
    home = Home(Workspace(Path(made) if made else folder / "workspace"), folder / "projects")
    project_file = home.projects_dir / f"{project['name']}.yaml"
    if not made:
        project_file.write_text(yaml.safe_dump({**project, "promotion": LENIENT}))
        _demo(home)
    project_file.write_text(yaml.safe_dump({**project, "promotion": MANUAL}))
    with running_airflow(home, print) as airflow, chromium() as browser:
        yield World(home, project, airflow, browser)
    settings.cache_clear()


def _demo(home: Home) -> None:
    plan = synthetic_plan(
        home.workspace, "tiny", count=4, size_px=384, projects_dir=home.projects_dir, training={}, run_timeout_s=900
    )
    screen = LineScreen()
    with running_airflow(home, screen.say) as airflow:
        Demo(plan, airflow, screen).run()


@pytest.fixture
def admin(world: World) -> Iterator[Person]:
    person = world.person("admin")
    person.open(world.name)
    yield person
    assert person.complaints == []
    assert person.foreign == []  # nothing comes from another server
    person.close()


def _score(value: float) -> str:
    return f"{value:.3f}"


def _picture(person: Person, name: str, *panels: str, theme: str = "light") -> None:
    if folder := os.environ.get("SATSEG_PICTURES"):
        person.page.emulate_media(color_scheme=theme)
        person.picture(Path(folder) / f"page-{name}.png", *panels)
        person.page.emulate_media(color_scheme="light")


def _row(person: Person, panel: str, version: str) -> Any:
    """Return the row of a version in a panel's table."""
    name = person.page.locator("th b", has_text=re.compile(f"^{version}$"))
    return person.panel(panel).locator("tbody tr").filter(has=name)


def test_champion_card_shows_what_satseg_says_of_it(world: World, admin: Person) -> None:
    champion = world.satseg("models", "show", "champion")
    shown = admin.words("champion")
    _picture(admin, "loop", "loop", "champion", "challenger", "models")
    _picture(admin, "dark", "loop", "champion", "challenger", theme="dark")
    assert f"v{champion['version']}" in shown
    report = champion["reports"][champion["patch_set"]]
    measured = report["intervals"]["iou"]
    assert admin.panel("champion").locator("[data-value=iou]").inner_text() == _score(report["iou"])
    assert f"{_score(measured['low'])} to {_score(measured['high'])}" in shown
    for name in ("precision", "recall", "dice", "iou_all_positive"):
        assert _score(report[name]) in shown, name
    made = [one for one in world.log() if one.to_version == champion["version"] and one.action == "promoted"][-1]
    assert f"promoted by {'the gates' if made.who == 'gates' else made.who}" in shown
    assert f"of {len(made.gates)} gates passed" in shown
    admin.panel("champion").get_by_role("button", name=re.compile("Show all .* gates")).click()
    for gate in made.gates:
        assert WITH_UNITS.get(gate.name, gate.name.replace("_", " ")) in admin.words("champion")


def test_all_versions_stand_in_the_table(world: World, admin: Person) -> None:
    for model in world.satseg("models", "list"):
        row = _row(admin, "models", f"v{model['version']}")
        assert _score(model["test_iou"]) in row.inner_text()
        assert (model["decision"] or "not judged") in row.inner_text()


def test_dataset_and_patch_set_counts_are_satsegs(world: World, admin: Person) -> None:
    for version in world.satseg("datasets", "list"):
        row = _row(admin, "data", version["version"])
        numbers = re.findall(r"\d+", row.inner_text().removeprefix(version["version"]).replace(",", ""))
        assert numbers[:3] == [str(version[name]) for name in ("scenes", "labelled", "polygons")]
    folder = world.home.workspace.root / "patches" / world.name
    sets = [json.loads(path.read_text()) for path in folder.glob("*/patchset.json")]
    for one in sets:
        admin.panel("split-map").locator("select").select_option(one["id"])
        shown = admin.words("split-map").replace(",", "")
        assert all(str(one["windows"][split]) in shown for split in ("train", "val", "test"))
    admin.page.wait_for_selector("section#split-map canvas")
    _picture(admin, "data", "data", "drop-zone", "split-map", "training", "runs", "history", "health")


def test_drift_nights_and_the_alarm_are_satsegs(world: World, admin: Person) -> None:
    reports = sorted((world.home.workspace.root / "drift" / world.name).glob("*/report.json"))
    assert reports
    for path in reports:
        report = json.loads(path.read_text())
        row = admin.panel("drift").get_by_role("row").filter(has_text=report["night"])
        assert report["verdict"] in row.inner_text()
        assert ("alarm" in row.inner_text()) == report["drifted"]  # one night in one asks for a retraining here
    night = json.loads(reports[-1].read_text())["night"]
    point = admin.panel("drift").get_by_role("button", name=re.compile(f"Night {night}.*Open the report"))
    point.focus()
    admin.page.keyboard.press("Enter")
    frame = admin.page.frame_locator("dialog iframe")
    assert f"night {night}" in frame.locator("h1").inner_text()
    admin.page.keyboard.press("Escape")
    assert admin.page.locator("dialog").count() == 0


def test_map_lies_over_the_pixels_of_its_scene(world: World, admin: Person) -> None:
    items = list((world.home.workspace.root / "predictions" / world.name).glob("*/*/item.json"))
    scene, model = items[0].parent.parent.name, items[0].parent.name
    admin.panel("maps").get_by_label("Find a scene").fill(scene)
    admin.panel("maps").get_by_role("button", name=re.compile(rf"{scene}.*{model}")).first.click()
    view = admin.panel("maps").get_by_role("group", name=re.compile(f"Map of {scene} by {model}"))
    loaded = "view => [...view.querySelectorAll('.tiles')].slice(0, 2).map(layer => [...layer.querySelectorAll('img')]"
    loaded += ".filter(image => image.complete && image.naturalWidth === 256).length)"
    admin.page.wait_for_function(f"() => ({loaded})(document.querySelector('.map-view')).every(count => count > 0)")
    _picture(admin, "map-drift", "maps", "drift")
    before = view.locator(".map-scale").inner_text()
    view.focus()
    admin.page.keyboard.press("+")
    assert view.locator(".map-scale").inner_text() != before
    admin.panel("maps").get_by_label("Opacity").fill("20")
    assert view.locator(".tiles").nth(1).evaluate("layer => layer.style.opacity") == "0.2"
    admin.page.keyboard.press("Tab")


def test_runs_lead_into_airflow(world: World, admin: Person) -> None:
    admin.panel("runs").get_by_label("DAG").select_option("model_retraining")
    links = admin.panel("runs").locator("td a[href*='/dags/']")
    others = links.and_(admin.page.locator(":not([href*='.model_retraining/'])"))
    others.first.wait_for(state="detached")  # the rows of all DAGs stand there until those of this one have come
    link = links.first
    assert f"/dags/{world.name}.model_retraining/runs/drift__{world.name}__" in (link.get_attribute("href") or "")
    link.click()
    admin.page.wait_for_url(re.compile(r"/dags/.*model_retraining/runs/"))
    admin.complaints.clear()  # of Airflow's own page
    admin.foreign.clear()


def test_page_stands_in_airflows_frame_and_follows_its_theme(world: World) -> None:
    person = world.person("admin", color_scheme="dark")
    person.page.goto(f"{world.airflow.url}/plugin/satseg")
    frame = person.page.frame_locator("iframe")
    frame.locator("section#champion .model-name").wait_for()
    person.page.evaluate(
        "document.documentElement.classList.remove('dark'); document.documentElement.classList.add('light')"
    )
    root = frame.locator("html")
    assert root.get_attribute("data-theme") == "light"
    person.page.evaluate(
        "document.documentElement.classList.remove('light'); document.documentElement.classList.add('dark')"
    )
    assert root.get_attribute("data-theme") == "dark"
    frame.locator("section#runs td a").first.click()  # the sandbox forbids it to the frame itself
    person.page.wait_for_url(re.compile(r"/dags/.*/runs/"))
    person.close()


@pytest.mark.parametrize(
    ("user", "sees", "sees_not"),
    [
        ("viewer", (), ("Train", "Promote", "Roll back", "Ingest", "Upload", "Make maps", "Retrain", "Test now")),
        ("user", ("Train", "Ingest", "Make maps", "Retrain", "Test now"), ("Promote", "Roll back")),
        ("admin", ("Train", "Ingest", "Make maps"), ()),
    ],
)
def test_buttons_are_those_the_reader_may_use(
    world: World, user: str, sees: tuple[str, ...], sees_not: tuple[str, ...]
) -> None:
    person = world.person(user)
    person.open(world.name)
    shown = " | ".join(person.page.locator("main button, main label.button").all_inner_texts())
    assert all(word in shown for word in sees), shown
    assert not any(re.search(rf"{word}.*…", shown) for word in sees_not), shown
    others = [model for model in world.satseg("models", "list") if "champion" not in model["aliases"]]
    assert ("Promote" in shown) == (user == "admin" and bool(others))
    assert f"v{world.champion()}" in person.words("champion")
    assert person.complaints == []
    person.close()


def test_training_from_the_page_ends_in_a_question_that_a_person_answers_with_no(world: World) -> None:
    champion = world.champion()
    user = world.person("user")
    user.open(world.name, "training")
    user.panel("training").get_by_role("button", name="Train a model").click()
    dialog = user.page.locator("dialog")
    assert "registered as challenger" in dialog.inner_text()
    dialog.get_by_label("epochs", exact=False).first.fill("1")
    dialog.get_by_label(re.compile("steps.per.epoch", re.IGNORECASE)).fill("2")
    _picture(user, "train")
    dialog.get_by_role("button", name="Start training").click()
    dialog.wait_for(state="detached")
    newest = user.panel("training").locator("p", has_text="started by user")  # drawn anew every few seconds
    newest.get_by_text("running").wait_for()
    user.close()

    admin = world.person("admin")
    admin.open(world.name)
    question = admin.panel("approvals").locator("article")
    question.wait_for(timeout=RUN_MS)
    version = re.search(r"Shall v(\d+) become champion", question.inner_text())
    assert version
    question.get_by_role("button", name=re.compile("Show all .* gates")).click()
    assert "floor" in question.inner_text()
    _picture(admin, "question", "approvals", "loop", "champion", "challenger")
    time.sleep(SETTLED_S)
    question.get_by_role("button", name="Refuse").click()
    dialog = admin.page.locator("dialog")
    dialog.get_by_label("Reason").fill("misses <b>tin</b> roofs")
    dialog.get_by_role("button", name="Refuse").click()
    row = _row(admin, "models", f"v{version[1]}")
    row.get_by_text("refused").wait_for(timeout=RUN_MS)
    assert "misses <b>tin</b> roofs" in row.inner_text()  # as text, not as markup
    last = world.log()[-1]
    assert (last.action, last.to_version, last.who) == ("refused", version[1], "admin")
    assert world.champion() == champion
    assert admin.complaints == []
    admin.close()


def test_promotion_from_the_page_is_refused_by_a_gate(world: World, admin: Person) -> None:
    champion, decided = world.champion(), len(world.log())
    world.rules(STRICT)
    _promote_newest(world, admin, "too good to be true")
    deadline = time.monotonic() + RUN_MS / 1000
    while len(world.log()) == decided and time.monotonic() < deadline:
        time.sleep(2)
    last = world.log()[-1]
    assert (last.action, [gate.name for gate in last.gates if not gate.passed]) == ("refused", ["floor"])
    assert last.who == "gates, asked by admin"
    assert world.champion() == champion
    admin.panel("history").get_by_role("row").filter(has_text="too good to be true").wait_for(timeout=RUN_MS)
    _picture(admin, "refused", "champion", "challenger", "models")
    world.rules(MANUAL)


def test_approved_promotion_and_rollback_from_the_page(world: World, admin: Person) -> None:
    before = world.champion()
    version = _promote_newest(world, admin, "new district")
    question = admin.panel("approvals").locator("article")
    question.wait_for(timeout=RUN_MS)
    time.sleep(SETTLED_S)
    question.get_by_role("button", name="Approve").click()
    admin.page.locator("dialog").get_by_role("button", name="Approve").click()
    card = admin.panel("champion")
    card.locator(".model-name b", has_text=f"v{version}").first.wait_for(timeout=RUN_MS)
    assert world.champion() == version

    card.get_by_role("button", name=f"Roll back to v{before}").click()
    dialog = admin.page.locator("dialog")
    assert f"v{before} becomes champion again" in dialog.inner_text()
    dialog.get_by_role("button", name="Roll back").click()
    assert dialog.is_visible()  # a reason is wanted
    dialog.get_by_label("Reason").fill("misses tin roofs")
    dialog.get_by_role("button", name="Roll back").click()
    card.locator(".model-name b", has_text=f"v{before}").first.wait_for(timeout=RUN_MS)
    assert world.champion() == before
    last = world.log()[-1]
    assert (last.action, last.who, last.reason) == ("rolled_back", "admin", "misses tin roofs")
    admin.open(world.name)
    _picture(admin, "rollback", "champion", "challenger", "models", theme="dark")
    _picture(admin, "decisions", "history", "health")


def _promote_newest(world: World, admin: Person, reason: str) -> str:
    """Start the promotion of the newest version that is not champion; returns its number."""
    admin.open(world.name, "models")
    button = admin.panel("models").get_by_role("button", name="Promote").first
    version = str(button.get_attribute("data-key")).removeprefix("promote-")
    button.click()
    dialog = admin.page.locator("dialog")
    assert "a person has to approve" in dialog.inner_text()
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name="Start promotion").click()
    dialog.wait_for(state="detached")
    return version
