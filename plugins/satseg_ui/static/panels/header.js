// The bar at the top: project, sections, who is reading, and whether the server answers.

import { h, replace } from "../parts/dom.js";
import { mark } from "../parts/show.js";

const SECTIONS = [["loop", "Loop"], ["champion", "Models"], ["maps", "Maps"], ["drift", "Drift"], ["data", "Data"], ["training", "Training"], ["runs", "Runs"], ["health", "Health"]];

/** Return the header's nodes, and `tell(problem)` for the state of the connection. */
export function headerOf(context, projects) {
  const chooser = h("select", { id: "project", "aria-label": "Project", on: { change: () => { location.hash = `#${encodeURIComponent(chooser.value)}`; } } },
    projects.map((one) => h("option", { value: one.name, selected: one.name === context.project }, one.broken ? `${one.name} (file broken)` : one.name)));
  const nav = h("nav", { "aria-label": "Sections" }, h("ul", null, SECTIONS.map(([id, title]) =>
    h("li", null, h("a", { href: `#${encodeURIComponent(context.project)}/${id}`, data: { section: id } }, title)))));
  const trouble = h("span", { class: "connection", role: "status" });
  const canStart = ["train", "promote"].filter(context.may);
  const right = canStart.length === 2 ? "may decide" : canStart.length ? "may start" : "may look";
  const nodes = [
    h("a", { class: "brand", href: `#${encodeURIComponent(context.project)}/loop` }, h("img", { src: "icon.svg", alt: "", width: 22, height: 22 }), "satseg"),
    chooser, nav, trouble,
    h("span", { class: "user", title: "Rights come from Airflow: a viewer may look, a user may start work, Op and Admin may promote and roll back." },
      h("b", null, context.user), ` ${right}`),
  ];
  return { nodes, tell: (problem) => tell(trouble, problem) };
}

function tell(box, problem) {
  const text = problem ? (problem.status === 401 ? "Logged out" : problem.status === 0 ? "No connection, trying again" : "Not up to date") : "";
  if (box.textContent === text) return;
  replace(box, text ? [mark("bad"), text] : []);
  if (problem) box.title = problem.message;
}

/** Mark the section that is read. */
export function markSection(id) {
  for (const link of document.querySelectorAll("nav [data-section]")) {
    if (link.dataset.section === id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
