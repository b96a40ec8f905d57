// What the champion's and the challenger's card have in common.

import { intervalBar } from "../parts/charts.js";
import { h } from "../parts/dom.js";
import { facts, leave, when } from "../parts/show.js";
import { count, interval, score } from "../parts/words.js";

/** The test IoU with its interval, as a number and on a line. */
export function scoreLine(measured, plain) {
  const iou = measured?.iou ?? plain;
  if (iou === null || iou === undefined) return h("p", { class: "soft" }, "Not measured on held-out ground.");
  return h("div", { class: "score" },
    h("p", { class: "score-value" }, h("span", { class: "soft" }, "Test IoU "), h("b", { data: { value: "iou" } }, score(iou)),
      measured && interval(measured.low, measured.high)
        ? h("span", { class: "soft", title: `95% interval over ${measured.blocks} spatial blocks` }, ` ${interval(measured.low, measured.high)}`) : null),
    intervalBar(iou, measured?.low, measured?.high, measured?.iou_all_positive),
    measured?.iou_all_positive === undefined || measured?.iou_all_positive === null ? null
      : h("p", { class: "hint" }, "Dashed: the map that says “yes” everywhere has ", h("b", null, score(measured.iou_all_positive)), " on the same ground."));
}

/** The audit log says `gates` where no person was asked. */
export function byWhom(who) {
  return who === "gates" ? "the gates" : who;
}

export function modelFacts(model) {
  const { score: measured } = model;
  return facts([
    ["Precision", measured && score(measured.precision)], ["Recall", measured && score(measured.recall)], ["Dice", measured && score(measured.dice)],
    ["Test blocks", measured && count(measured.blocks)],
    ["Dataset", model.dataset_version], ["Patch set", model.patch_set],
    ["Registered", when(model.created_at)],
    ["Run", leave(model.mlflow_url, `${model.run_id.slice(0, 8)}${model.mlflow_url ? " in MLflow" : ""}`, "_blank")],
  ]);
}
