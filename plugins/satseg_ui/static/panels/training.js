// Trainings: the newest with its live curve, earlier ones, and the form that starts one.

import { read } from "../parts/api.js";
import { train } from "../parts/actions.js";
import { curve } from "../parts/charts.js";
import { h, replace } from "../parts/dom.js";
import { notice } from "../parts/notices.js";
import { empty, problemBox } from "../parts/panel.js";
import { act, badge, facts, leave, when } from "../parts/show.js";
import { duration, figure, stateWords } from "../parts/words.js";

const LIVE_MS = 4000;
const SHOWN = ["val_iou", "loss"];
const FACTS = ["best_val_iou", "best_epoch", "val_loss", "epoch_seconds"];

export const training = {
  id: "training",
  title: "Training",
  wide: "narrow",
  stages: ["train", "retrain"],
  load: (context) => read(["projects", context.project, "trainings"], { limit: 20 }),
  tools: (_, context) => act(context.may("train"), "Train a model …", () => openForm(context), { kind: "primary", key: "train" }),
  draw: ({ items }, context) => {
    if (!items.length) return empty("Nothing has been trained yet.", "Cut patches first, then train a model.");
    const box = h("div", null, h("p", { class: "loading" }, "Loading …"));
    const chooser = h("select", { id: "training-run", data: { key: "training-run" }, on: { change: () => follow(items[chooser.selectedIndex]) } },
      items.map((one) => h("option", { value: one.dag_run_id }, `${one.dag_id.split(".").at(-1).replace("model_", "")} ${one.dag_run_id}`)));
    const follow = (one) => { box.dataset.run = one.dag_run_id; live(context, one.dag_run_id, box); };
    queueMicrotask(() => follow(items[0]));
    return [h("p", { class: "row" }, h("label", { for: "training-run" }, "Run"), chooser), box];
  },
};

async function openForm(context) {
  try {
    const { fields } = await read(["projects", context.project, "trainings", "form"]);
    await train(context, fields);
  } catch (error) {
    notice("bad", error.message);
  }
}

/** Show a training and look again while it runs; ends when another is chosen or the panel is drawn anew. */
async function live(context, dagRunId, box) {
  if (box.dataset.run !== dagRunId) return;
  try {
    const state = await read(["projects", context.project, "trainings", dagRunId]);
    const run = state.runs[0];
    const measured = run ? (await read(["projects", context.project, "runs", run.run_id, "metrics"], { name: SHOWN })).metrics : {};
    if (box.dataset.run !== dagRunId) return;
    replace(box, drawn(state, run, measured));
    if (stateWords(state.dag_run.state)[0] === "busy") setTimeout(() => box.isConnected && live(context, dagRunId, box), LIVE_MS);
  } catch (error) {
    if (box.dataset.run === dagRunId) replace(box, problemBox(error, () => live(context, dagRunId, box)));
  }
}

function drawn({ dag_run: dagRun, tasks, runs }, run, measured) {
  const curves = SHOWN.filter((name) => measured[name]?.length).map((name) => curve(measured[name], name, run.epochs));
  return [
    h("p", { class: "row" }, badge(dagRun.state), dagRun.triggered_by ? h("span", { class: "soft" }, `started by ${dagRun.triggered_by}`) : null,
      h("span", { class: "soft" }, when(dagRun.started_at)), leave(dagRun.url, "Open in Airflow")),
    run?.epochs ? h("p", null, h("progress", { max: run.epochs, value: run.epoch ?? 0, "aria-label": "Epochs" }), ` epoch ${run.epoch ?? 0} of ${run.epochs}`) : null,
    curves.length ? h("div", { class: "curves" }, curves) : h("p", { class: "soft" }, run ? "No epoch is done yet." : "No run in MLflow yet: it waits for a device."),
    run ? facts([["Run", leave(run.url, run.name ?? run.run_id.slice(0, 8), "_blank")], ...FACTS.map((name) => [name.replaceAll("_", " "), run.metrics?.[name] === undefined ? null : figure(run.metrics[name])])]) : null,
    runs.length > 1 ? h("p", { class: "hint" }, `The newest of ${runs.length} runs of this training; all stand in MLflow.`) : null,
    h("ol", { class: "tasks", "aria-label": "Tasks" }, tasks.map((task) => h("li", null, badge(task.state), " ", leave(task.url, `${task.task_id}${task.label ? ` ${task.label}` : ""}`),
      task.started_at ? h("span", { class: "soft" }, ` ${duration(task.started_at, task.ended_at)}`) : null))),
  ];
}
