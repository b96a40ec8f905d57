// The model that wants to be champion, beside it.

import { promote } from "../parts/actions.js";
import { h } from "../parts/dom.js";
import { empty } from "../parts/panel.js";
import { act, badge, when } from "../parts/show.js";
import { versionName } from "../parts/words.js";
import { compareButton } from "./compare.js";
import { gateSummary, gateTable } from "./gates.js";
import { modelFacts, scoreLine } from "./model_facts.js";
import { registered, withAlias } from "./registered.js";

export const challenger = {
  id: "challenger",
  title: "Challenger",
  wide: "half",
  stages: ["train", "promote", "retrain"],
  load,
  tools: ({ model, champion }, context) => (model
    ? [champion ? compareButton(context, "champion", model.version) : null,
      act(context.may("promote"), `Promote ${versionName(model.version)} …`, () => promote(context, model, champion), { kind: "primary", key: "promote" })]
    : null),
  draw: ({ model }) => (model ? card(model)
    : empty("No challenger is waiting.", "The next training registers one. What was decided about earlier ones stands below.")),
};

async function load(context) {
  const model = await withAlias(context, "challenger");
  const { items } = await registered(context);
  return { model, champion: items.find((one) => one.aliases.includes("champion")) ?? null };
}

function card(model) {
  const decided = model.decision ? h("p", null, badge(model.decision), " ", model.decided_at ? ["decided ", when(model.decided_at)] : null,
    model.decided_by ? [" by ", h("b", null, model.decided_by)] : null) : h("p", { class: "soft" }, "Not judged yet.");
  return [
    h("p", { class: "model-name" }, h("b", null, versionName(model.version)), h("span", { class: "soft" }, "registered ", when(model.created_at))),
    scoreLine(model.score, model.test_iou),
    decided,
    model.reason ? h("p", { class: "because" }, model.reason) : null,
    modelFacts(model),
    h("h3", null, "Gates", h("span", { class: "soft" }, model.gates?.length ? ` ${gateSummary(model.gates)}` : "")),
    gateTable(model.gates ?? []),
  ];
}
