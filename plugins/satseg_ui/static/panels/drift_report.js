// A night's report, shown as the page that the drift stage drew.

import { route } from "../parts/api.js";
import { showDialog } from "../parts/confirm.js";
import { h } from "../parts/dom.js";
import { act } from "../parts/show.js";

export function reportButton(context, night) {
  return act(true, "Report", () => showReport(context, night), { kind: "link", key: `report-${night}` });
}

export function showReport(context, night) {
  const address = route(["projects", context.project, "drift", "nights", night, "report"]);
  // the sandbox keeps scripts off, whatever the report holds
  const frame = h("iframe", { class: "report", src: address, title: `Drift report of night ${night}`, sandbox: "" });
  showDialog(`Drift report of night ${night}`, [frame, h("p", null, h("a", { href: address, target: "_blank", rel: "noopener" }, "Open it alone"))], { wide: true });
}
