// Who decided what: the audit log of the registry.

import { read } from "../parts/api.js";
import { h } from "../parts/dom.js";
import { empty } from "../parts/panel.js";
import { badge, shortened, table, when } from "../parts/show.js";
import { versionName } from "../parts/words.js";
import { gateSummary } from "./gates.js";
import { byWhom } from "./model_facts.js";

const MOVES = ["promoted", "rolled_back"];
const COLUMNS = [
  { title: "When", cell: (row) => when(row.time) },
  { title: "Who", cell: (row) => byWhom(row.who) },
  { title: "What", cell: (row) => badge(row.action) },
  { title: "Version", cell: (row) => [row.from && MOVES.includes(row.action) ? `${versionName(row.from)} → ` : "", versionName(row.to)] },
  { title: "Gates", cell: (row) => (row.gates?.length ? gateSummary(row.gates).replace(" gates", "") : "–") },
  { title: "Why", cell: (row) => h("span", { class: "clip", title: row.reason }, row.reason || "–") },
];

export const history = {
  id: "history",
  title: "Decisions",
  wide: "wide",
  stages: ["train", "promote", "retrain"],
  load: (context) => read(["projects", context.project, "audit"], { limit: 50 }),
  draw: ({ items }) => (items.length ? shortened(items, 6, "decisions", (shown) => table("Decisions", COLUMNS, shown))
    : empty("Nothing has been decided yet.", "Each registration, promotion, refusal and rollback is written down here.")),
};
