// Everything that can be started from the page: what it is called, what it will do, and the route that does it.

import { write } from "./api.js";
import { confirmAndAct } from "./confirm.js";
import { counted, versionName } from "./words.js";

const REASON = { name: "reason", label: "Reason", description: "Kept with the decision in the audit log.", long: true };

/** Ask, send, and let the page look for what changed; `plan.old` names panels that are old at once. */
async function start(context, plan) {
  const answer = await confirmAndAct(plan);
  if (answer) context.changed(...(plan.old ?? []));
  return answer;
}

function post(context, parts, body = {}) {
  return write("POST", ["projects", context.project, ...parts], body);
}

function dag(context, name) {
  return `${context.project}.${name}`;
}

export function ingest(context, waiting) {
  return start(context, {
    title: "Ingest new scenes",
    happens: [
      `Airflow starts ${dag(context, "scene_ingestion")}.`,
      waiting === 0 ? "The drop zone is empty: without a source folder there is nothing to take in." : `${counted(waiting, "file")} in the drop zone are checked, converted and stored as a new dataset version.`,
      "Bad scenes go to quarantine with their reasons; the good ones go on.",
      "A new version then starts cutting patches by itself. No model is trained.",
    ],
    fields: [
      { name: "source", label: "Source folder on the server", description: "Only read. Empty: the drop zone, which is emptied once the version is made.", type: ["null", "string"] },
      { name: "retry_quarantine", label: "Check the quarantined scenes again", type: "boolean", default: false },
    ],
    button: "Start ingest",
    act: (values) => post(context, ["ingests"], values),
    done: () => "Ingest started.",
  });
}

export function cutPatches(context, version) {
  return start(context, {
    title: `Cut dataset ${version} into patches`,
    happens: [
      `Airflow starts ${dag(context, "patch_generation")} on dataset ${version}.`,
      "A patch set that exists already is not made again.",
      "Blocks that are test ground stay test ground.",
    ],
    button: "Start patch generation",
    act: () => post(context, ["patch-sets"], { dataset_version: version }),
    done: () => "Patch generation started.",
  });
}

export function train(context, fields) {
  return start(context, {
    title: "Train a model",
    happens: [
      `Airflow starts ${dag(context, "model_training")}; it waits until a device is free.`,
      "The model is measured on held-out ground and registered as challenger.",
      "Then the gates decide whether it becomes champion. Nothing in production changes before that.",
    ],
    fields: fields.map((field) => ({ ...field, label: field.title ?? field.name.replaceAll("_", " ") })),
    button: "Start training",
    act: (values) => post(context, ["trainings"], values),
    done: () => "Training started.",
  });
}

export function retrain(context) {
  return start(context, {
    title: "Retrain the champion",
    happens: [
      `Airflow starts ${dag(context, "model_retraining")}.`,
      "New labelled scenes in the drop zone are taken in first, then patches are cut.",
      "Training goes on from the champion; old and new are measured on the same ground.",
      "The new model meets the gates as challenger. The champion stays until it is beaten.",
    ],
    button: "Start retraining",
    act: () => post(context, ["retrainings"]),
    done: () => "Retraining started.",
  });
}

export function promote(context, model, champion) {
  const name = versionName(model.version);
  return start(context, {
    title: `Promote ${name}`,
    happens: [
      `Airflow starts ${dag(context, "model_promotion")} and judges ${name} by every gate again.`,
      approvalWords(context.details.approval),
      champion ? `If it passes, ${name} becomes champion; ${versionName(champion.version)} stays as the version to go back to.` : `If it passes, ${name} becomes the first champion.`,
      "Maps of all scenes are then made anew with it. If it does not pass, it is refused and nothing changes.",
    ],
    fields: [REASON],
    button: `Start promotion of ${name}`,
    act: (values) => post(context, ["models", model.version, "promotion"], values),
    done: () => `Promotion of ${name} started: the gates are judging it.`,
  });
}

function approvalWords(approval) {
  if (approval === "manual") return "Then a person has to approve it; this page will ask.";
  return approval === "unsure" ? "Where a gate has not enough evidence, a person has to decide; this page will ask." : null;
}

export function rollBack(context, champion) {
  const [from, to] = [versionName(champion.version), versionName(champion.goes_back_to)];
  return start(context, {
    title: `Roll back to ${to}`,
    happens: [
      `Airflow starts ${dag(context, "model_promotion")} with the action “rollback”.`,
      `${to} becomes champion again, without gates. ${from} stays registered and can be promoted later.`,
      `New maps come from ${to}. Maps made with ${from} stay.`,
    ],
    warning: `From then on ${to} is in production. This is written to the audit log with your name.`,
    fields: [{ ...REASON, required: true, description: "Why the champion has to go. Kept in the audit log with your name." }],
    button: `Roll back to ${to}`,
    danger: true,
    act: (values) => post(context, ["rollback"], values),
    done: () => `Rollback to ${to} started.`,
  });
}

export function predict(context, model) {
  return start(context, {
    title: "Make maps",
    happens: [
      `Airflow starts ${dag(context, "scene_inference")} with the champion${model ? ` ${versionName(model.version)}` : ""}.`,
      "Scenes it has not mapped yet are mapped; maps that exist are kept.",
    ],
    button: "Start mapping",
    act: () => post(context, ["predictions"]),
    done: () => "Mapping started.",
  });
}

export function testDrift(context) {
  return start(context, {
    title: "Test for drift now",
    happens: [
      `Airflow starts ${dag(context, "drift_detection")} on the scenes that were taken in.`,
      "If they drifted, and as often as the rule asks, a drift episode opens and the champion is retrained.",
    ],
    fields: [
      { name: "dataset_version", label: "Dataset version", type: ["null", "string"], description: "Test the scenes this version added or changed, such as v2. Empty: scenes of today." },
    ],
    button: "Start drift test",
    act: (values) => post(context, ["drift", "nights"], values),
    done: () => "Drift test started.",
  });
}

export function answer(context, approval, approve) {
  const name = versionName(approval.version);
  return start(context, {
    title: approve ? `Approve ${name}` : `Refuse ${name}`,
    happens: approve
      ? [`${name} becomes champion.`, "Maps of all scenes are then made anew with it."]
      : [`${name} is refused; the champion stays.`, `${name} stays registered and can be promoted later.`],
    fields: [REASON],
    button: approve ? `Approve ${name}` : `Refuse ${name}`,
    danger: !approve,
    old: ["approvals"],
    act: (values) => post(context, ["approvals", approval.dag_run_id], { approve, ...values }),
    done: () => (approve ? `${name} is approved.` : `${name} is refused.`),
  });
}

export function removeIncoming(context, name) {
  return start(context, {
    title: `Remove ${name}`,
    happens: [`The file ${name} is removed from the drop zone.`, "Dataset versions that exist are not touched."],
    button: "Remove the file",
    danger: true,
    old: ["drop-zone"],
    act: async () => { await write("DELETE", ["projects", context.project, "incoming", name]); return {}; },
    done: () => `${name} is removed.`,
  });
}
