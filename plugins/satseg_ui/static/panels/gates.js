// The table of gates: what was asked of a model, what came out.

import { h } from "../parts/dom.js";
import { badge, shortened, table } from "../parts/show.js";
import { figure, interval } from "../parts/words.js";

const ORDER = { failed: 0, "not enough evidence": 1, passed: 2 };
const UNITS = { s: "s", mib: "MiB" };
const COLUMNS = [
  { title: "Gate", cell: (gate) => h("span", { title: gate.evidence }, gateWords(gate.name)) },
  { title: "Outcome", cell: (gate) => [badge(gate.outcome), gate.outcome === "not enough evidence" && gate.blocks_needed ? h("div", { class: "hint" }, `${figure(gate.blocks)} of ${figure(gate.blocks_needed)} blocks`) : null] },
  { title: "Measured", number: true, cell: (gate) => figure(gate.value) },
  { title: "Bound", number: true, cell: (gate) => figure(gate.bound) },
  { title: "95% interval", number: true, cell: (gate) => interval(gate.low, gate.high) ?? "–" },
];

/** `latency_s` as `latency, s` */
function gateWords(name) {
  const words = name.split("_");
  const unit = UNITS[words.at(-1)];
  return unit ? `${words.slice(0, -1).join(" ")}, ${unit}` : words.join(" ");
}

/** Those that did not pass come first. */
export function gateTable(gates) {
  if (!gates.length) return h("p", { class: "soft" }, "No gates were judged.");
  const sorted = [...gates].sort((one, other) => (ORDER[one.outcome] ?? 0) - (ORDER[other.outcome] ?? 0));
  return shortened(sorted, 5, "gates", (shown) => table("Gates", COLUMNS, shown));
}

/** `14 of 16 gates passed` */
export function gateSummary(gates) {
  const passed = gates.filter((gate) => gate.outcome === "passed").length;
  return `${passed} of ${gates.length} gates passed`;
}
