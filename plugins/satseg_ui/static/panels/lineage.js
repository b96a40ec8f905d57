// Where a model or a map comes from, in a dialog.

import { read } from "../parts/api.js";
import { showDialog } from "../parts/confirm.js";
import { h, replace } from "../parts/dom.js";
import { problemBox } from "../parts/panel.js";
import { act, badge, facts } from "../parts/show.js";
import { figure } from "../parts/words.js";

export function lineageButton(context, target) {
  return act(true, "Where does it come from?", () => lineage(context, target), { kind: "link", key: `lineage-${target}` });
}

async function lineage(context, target) {
  const box = h("div", null, h("p", { class: "loading" }, "Following the chain …"));
  showDialog("Where it comes from", box, { wide: true });
  try {
    const { message, chain, warnings } = await read(["projects", context.project, "lineage"], { target });
    replace(box, h("p", null, message), warnings.map((one) => h("p", { class: "callout warn" }, one)),
      h("ol", { class: "chain" }, chain.map(link)));
  } catch (error) {
    replace(box, problemBox(error));
  }
}

function link(node) {
  const told = Object.entries(node.facts ?? {}).map(([name, value]) => [name.replaceAll("_", " "), typeof value === "object" && value !== null ? JSON.stringify(value) : figure(value)]);
  return h("li", null, h("h3", null, node.kind, " ", h("code", null, node.id), node.state ? [" ", badge(node.state)] : null),
    h("details", null, h("summary", null, `${told.length} facts, ${node.checks?.length ?? 0} checks`), facts(told),
      (node.checks ?? []).map((check) => h("p", { class: "check" }, badge(check.state), ` ${check.what}`))));
}
