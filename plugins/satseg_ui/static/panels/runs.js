// The last DAG runs, with the way into Airflow.

import { read } from "../parts/api.js";
import { h } from "../parts/dom.js";
import { empty } from "../parts/panel.js";
import { badge, leave, table, when } from "../parts/show.js";
import { duration } from "../parts/words.js";

const DAGS = ["scene_ingestion", "patch_generation", "model_training", "model_registration", "model_promotion", "scene_inference", "drift_detection", "model_retraining"];
const COLUMNS = [
  { title: "DAG", cell: (row) => row.dag_id.split(".").slice(1).join(".") },
  { title: "State", cell: (row) => badge(row.state) },
  { title: "Run", cell: (row) => leave(row.url, h("span", { class: "clip", title: row.dag_run_id }, row.dag_run_id)) },
  { title: "Started by", cell: (row) => row.triggered_by ?? (row.run_type ?? "").replaceAll("_", " ") },
  { title: "Started", cell: (row) => when(row.started_at) },
  { title: "Took", number: true, cell: (row) => duration(row.started_at, row.ended_at) },
];

export const runs = {
  id: "runs",
  title: "Runs in Airflow",
  stages: ["ingest", "patch", "train", "promote", "predict", "drift", "retrain"],
  load: (context) => read(["projects", context.project, "dag-runs"], { limit: 12, dag: context.runsOf }),
  tools: (_, context) => {
    const chooser = h("select", { "aria-label": "DAG", data: { key: "runs-of" } },
      h("option", { value: "" }, "All DAGs"), DAGS.map((name) => h("option", { value: name, selected: name === context.runsOf }, name)));
    chooser.addEventListener("change", () => {
      context.runsOf = chooser.value || undefined;
      context.changed("runs");
    });
    return chooser;
  },
  draw: rows,
};

function rows({ items, total }) {
  if (!items.length) return empty("Nothing has run yet.", "What is started here or in Airflow shows up at once.");
  return [table("Runs", COLUMNS, items), total > items.length ? h("p", { class: "hint" }, `The newest ${items.length} of ${total}; Airflow has them all.`) : null];
}
