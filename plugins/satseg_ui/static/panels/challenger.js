// The model that wants to be champion, beside it.

import { read } from "../parts/api.js";
import { promote } from "../parts/actions.js";
import { h } from "../parts/dom.js";
import { empty } from "../parts/panel.js";
import { act, badge, when } from "../parts/show.js";
import { versionName } from "../parts/words.js";
import { compareButton } from "./compare.js";
import { gateSummary, gateTable } from "./gates.js";
import { byWhom, modelFacts, scoreLine } from "./model_facts.js";
import { registered } from "./registered.js";

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
  draw: ({ model, waiting }) => (model ? card(model, waiting)
    : empty("No challenger is waiting.", "The next training registers one.")),
};

async function load(context) {
  const { items } = await registered(context);
  const of = (alias) => items.find((one) => one.aliases.includes(alias)) ?? null;
  const [waiting, champion] = [of("challenger"), of("champion")];
  const last = waiting ?? items.find((one) => one.decision === "refused" && one.version !== champion?.version);
  const model = last ? await read(["projects", context.project, "models", last.version]) : null;
  return { model, champion, waiting: waiting !== null };
}

function card(model, waiting) {
  const decided = model.decision ? h("p", null, badge(model.decision), " ", model.decided_at ? ["decided ", when(model.decided_at)] : null,
    model.decided_by ? [" by ", h("b", null, byWhom(model.decided_by))] : null) : h("p", { class: "soft" }, "Not judged yet.");
  return [
    waiting ? null : h("p", { class: "soft" }, "No challenger is waiting. The last one that was refused:"),
    h("p", { class: "model-name" }, h("b", null, versionName(model.version)), h("span", { class: "soft" }, "registered ", when(model.created_at))),
    scoreLine(model.score, model.test_iou),
    decided,
    model.reason ? h("p", { class: "because" }, model.reason) : null,
    modelFacts(model),
    h("h3", null, "Gates", h("span", { class: "soft" }, model.gates?.length ? ` ${gateSummary(model.gates)}` : "")),
    gateTable(model.gates ?? []),
  ];
}
