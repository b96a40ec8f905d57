// Questions that wait for a person; nothing is shown when there are none.

import { read } from "../parts/api.js";
import { answer } from "../parts/actions.js";
import { h } from "../parts/dom.js";
import { act, mark, when } from "../parts/show.js";
import { moment, versionName } from "../parts/words.js";
import { gateTable } from "./gates.js";

export const approvals = {
  id: "approvals",
  title: "A person has to decide",
  wide: "whole quiet-when-empty",
  stages: ["promote"],
  load: (context) => read(["projects", context.project, "approvals"]),
  draw: ({ items }, context) => items.map((one) => question(one, context)),
};

function question(approval, context) {
  return h("article", { class: "question" },
    h("h3", null, mark("warn"), `Shall ${versionName(approval.version)} become champion?`),
    h("p", { class: "soft" }, "Asked ", when(approval.asked_at), approval.answer_until ? `; refused by itself on ${moment(approval.answer_until)} when nobody answers.` : "."),
    gateTable(approval.gates ?? []),
    context.may("approve")
      ? h("p", { class: "row" }, act(true, "Approve …", () => answer(context, approval, true), { kind: "primary", key: `approve-${approval.dag_run_id}` }),
          act(true, "Refuse …", () => answer(context, approval, false), { key: `refuse-${approval.dag_run_id}` }))
      : h("p", { class: "soft" }, "Someone with the role Op or Admin has to answer."));
}
