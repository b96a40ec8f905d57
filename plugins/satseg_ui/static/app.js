// The page: who is reading, which project, its panels, and looking again while things change.

import { read } from "./parts/api.js";
import { h, replace } from "./parts/dom.js";
import { followTheme, openLinksOutside } from "./parts/frame.js";
import { announce } from "./parts/notices.js";
import { empty, panel, problemBox } from "./parts/panel.js";
import { stateWords } from "./parts/words.js";
import { headerOf, markSection } from "./panels/header.js";
import * as panels from "./panels/all.js";

const REST_MS = 15000;
const BUSY_MS = 4000;
const REMEMBERED = "satseg.project";

const main = document.getElementById("main");
let page = null; // of the project on the screen

/** Show the project that the address names, or the one read last, or the first. */
async function start() {
  followTheme();
  openLinksOutside();
  try {
    const [session, projects] = await Promise.all([read(["session"]), read(["projects"], { limit: 500 })]);
    window.addEventListener("hashchange", () => route(session, projects.items));
    route(session, projects.items);
  } catch (error) {
    replace(main, h("section", { class: "panel whole alone" }, h("h1", null, "satseg"), problemBox(error, () => location.reload())));
  }
}

/** `#project/section` */
function route(session, projects) {
  const [named, section] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const known = (name) => projects.find((one) => one.name === name);
  const chosen = known(named) ?? known(localStorage.getItem(REMEMBERED)) ?? projects[0];
  if (!chosen) {
    replace(main, h("section", { class: "panel whole alone" }, empty("There is no project yet.", "Add a project file to include/projects/: it appears here within a minute.")));
    return;
  }
  if (page?.context.project !== chosen.name) open(session, projects, chosen);
  if (section && known(named)) show(section);
}

function open(session, projects, project) {
  localStorage.setItem(REMEMBERED, project.name);
  document.title = `${project.name} · satseg`;
  page?.close();
  page = projectPage(session, projects, project);
}

function show(section) {
  const target = document.getElementById(section);
  if (!target) return;
  target.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "start" });
  target.querySelector("h2")?.focus({ preventScroll: true });
  markSection(section);
}

function projectPage(session, projects, project) {
  const context = {
    project: project.name,
    user: session.user,
    details: project,
    may: (action) => (session.may[project.name] ?? []).includes(action),
    changed: (...ids) => { look(true); for (const one of all) if (ids.includes(one.id)) one.refresh(); },
  };
  const header = headerOf(context, projects);
  replace(document.getElementById("top"), header.nodes);
  if (project.broken) {
    replace(main, h("section", { class: "panel whole alone" }, h("h1", null, project.name),
      h("div", { class: "problem", role: "alert" }, h("p", { class: "problem-what" }, "This project's file cannot be read."), h("pre", null, project.broken),
        h("p", { class: "problem-next" }, `Mend include/projects/${project.name}.yaml. Its DAGs come back within a minute.`))));
    return { context, close() {} };
  }
  const all = panels.plans.map((plan) => panel(plan, context));
  replace(main, h("h1", { class: "unseen" }, `Project ${project.name}`), h("div", { class: "grid" }, all.map((one) => one.element)));
  const seen = new Map();
  let timer = 0;
  let open = true;

  async function look(soon = false) {
    clearTimeout(timer);
    let busy = soon;
    try {
      const loop = await read(["projects", project.name, "loop"]);
      busy ||= loop.stages.some((stage) => stateWords(stage.state)[0] === "busy");
      refreshChanged(loop.stages);
      header.tell(null);
    } catch (error) {
      header.tell(error);
    }
    if (open) timer = setTimeout(() => (document.hidden ? wait() : look()), busy ? BUSY_MS : REST_MS);
  }

  function wait() {
    document.addEventListener("visibilitychange", () => open && look(), { once: true });
  }

  /** Load anew the panels whose stages have moved since the last look; all of them at the first. */
  function refreshChanged(stages) {
    const moved = stages.filter((stage) => seen.has(stage.stage) && seen.get(stage.stage) !== JSON.stringify(stage));
    for (const stage of moved) if (JSON.parse(seen.get(stage.stage)).state !== stage.state) announce(`${stage.stage}: ${stateWords(stage.state)[1]}`);
    for (const stage of stages) seen.set(stage.stage, JSON.stringify(stage));
    if (!moved.length) return;
    for (const one of all) if (one.stages.some((name) => moved.some((stage) => stage.stage === name))) one.refresh();
  }

  for (const one of all) one.refresh();
  look();
  return { context, close() { open = false; clearTimeout(timer); } };
}

start();
