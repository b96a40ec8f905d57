// Two versions side by side, in a dialog.

import { read } from "../parts/api.js";
import { showDialog } from "../parts/confirm.js";
import { h, replace } from "../parts/dom.js";
import { problemBox } from "../parts/panel.js";
import { act, shortened, table } from "../parts/show.js";
import { figure, score, signed, versionName } from "../parts/words.js";

export function compareButton(context, first, second, kind = "") {
  return act(true, "Compare", () => compare(context, first, second), { kind, key: `compare-${first}-${second}` });
}

async function compare(context, first, second) {
  const box = h("div", null, h("p", { class: "loading" }, "Loading …"));
  showDialog(`${versionName(first)} and ${versionName(second)}`, box, { wide: true });
  try {
    replace(box, compared(await read(["projects", context.project, "models", first, "compare", second])));
  } catch (error) {
    replace(box, problemBox(error));
  }
}

function compared({ first, second, scores, differences }) {
  const [left, right] = [versionName(first.version), versionName(second.version)];
  const scoreColumns = [
    { title: "Where", cell: (row) => row.where }, { title: "Score", cell: (row) => row.score },
    { title: left, number: true, cell: (row) => score(row.first) }, { title: right, number: true, cell: (row) => score(row.second) },
    { title: "Difference", number: true, cell: (row) => signed(row.second - row.first) },
    { title: "95% interval", number: true, cell: (row) => (row.low === null ? "–" : `${signed(row.low)} to ${signed(row.high)}`) },
    { title: "Tells", cell: (row) => telling(row, left, right) },
  ];
  const changed = [{ title: "What", cell: (row) => row.what }, { title: left, cell: (row) => figure(row.first) }, { title: right, cell: (row) => figure(row.second) }];
  return [
    scores.length ? shortened(scores, 10, "scores", (shown) => table("Scores on the same blocks", scoreColumns, shown))
      : h("p", { class: "soft" }, "They were never measured on the same patch set."),
    h("h3", null, "What differs"),
    differences.length ? shortened(differences, 8, "differences", (shown) => table("Differences", changed, shown)) : h("p", { class: "soft" }, "Nothing that was recorded."),
  ];
}

function telling(row, left, right) {
  if (row.low === null) return "";
  if (row.low > 0) return `${right} is better`;
  return row.high < 0 ? `${left} is better` : "cannot be told apart";
}
