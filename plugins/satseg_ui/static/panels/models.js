// Every registered version, with what may be done with it.

import { promote } from "../parts/actions.js";
import { h } from "../parts/dom.js";
import { empty } from "../parts/panel.js";
import { act, badge, shortened, table, when } from "../parts/show.js";
import { score, versionName } from "../parts/words.js";
import { compareButton } from "./compare.js";
import { registered } from "./registered.js";

export const models = {
  id: "models",
  title: "All versions",
  stages: ["train", "promote", "retrain"],
  load: registered,
  draw: ({ items, total }, context) => {
    if (!items.length) return empty("No model is registered.", "Training registers one when it ends.");
    const champion = items.find((one) => one.aliases.includes("champion"));
    return [shortened(items, 6, "versions", (shown) => table("Model versions", columns(context, champion), shown)),
      total > items.length ? h("p", { class: "hint" }, `The newest ${items.length} of ${total}; the rest: satseg models list.`) : null];
  },
};

function columns(context, champion) {
  return [
    { title: "Version", cell: (row) => [h("b", null, versionName(row.version)), row.aliases.map((alias) => h("span", { class: `alias ${alias}` }, alias))] },
    { title: "Test IoU", number: true, cell: (row) => score(row.test_iou) },
    { title: "Decision", cell: (row) => (row.decision ? badge(row.decision) : badge("registered", "not judged")) },
    { title: "Why", cell: (row) => h("span", { class: "clip", title: row.reason }, row.reason ?? "–") },
    { title: "Dataset", cell: (row) => row.dataset_version ?? "–" },
    { title: "Registered", cell: (row) => when(row.created_at) },
    { title: "", cell: (row) => (champion && row.version !== champion.version
      ? h("span", { class: "row" }, compareButton(context, champion.version, row.version, "link"),
          act(context.may("promote"), "Promote …", () => promote(context, row, champion), { kind: "link", key: `promote-${row.version}` })) : null) },
  ];
}
