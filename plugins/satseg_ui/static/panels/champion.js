// The model in production.

import { rollBack } from "../parts/actions.js";
import { h } from "../parts/dom.js";
import { empty } from "../parts/panel.js";
import { act, when } from "../parts/show.js";
import { versionName } from "../parts/words.js";
import { gateSummary, gateTable } from "./gates.js";
import { byWhom, modelFacts, scoreLine } from "./model_facts.js";
import { lineageButton } from "./lineage.js";
import { withAlias } from "./registered.js";

export const champion = {
  id: "champion",
  title: "In production",
  wide: "half",
  stages: ["promote"],
  load: (context) => withAlias(context, "champion"),
  tools: (model, context) => (model?.goes_back_to
    ? act(context.may("rollback"), `Roll back to ${versionName(model.goes_back_to)} …`, () => rollBack(context, model), { key: "rollback" }) : null),
  draw: (model, context) => (model ? card(model, context)
    : empty("No model is in production yet.", "Ingest labelled scenes and train a model: the first one that passes the gates becomes champion.")),
};

function card(model, context) {
  return [
    h("p", { class: "model-name" }, h("b", null, versionName(model.version)), h("span", { class: "soft" }, "champion since ", when(model.champion_since),
      model.promoted_by ? [", promoted by ", h("b", null, byWhom(model.promoted_by))] : null)),
    scoreLine(model.score, model.test_iou),
    model.champion_because && model.promoted_by !== "gates" ? h("p", { class: "because" }, model.champion_because) : null,
    modelFacts(model),
    h("h3", null, "Gates", h("span", { class: "soft" }, model.gates?.length ? ` ${gateSummary(model.gates)}` : "")),
    gateTable(model.gates ?? []),
    h("p", { class: "row" }, lineageButton(context, model.version)),
  ];
}
