// Is the system well: components, disk, queue, devices, and when each DAG last ended well.

import { read } from "../parts/api.js";
import { h } from "../parts/dom.js";
import { badge, facts, mark, shortened, when } from "../parts/show.js";
import { bytes, count } from "../parts/words.js";

export const health = {
  id: "health",
  title: "Health",
  wide: "narrow",
  stages: ["ingest", "patch", "train", "promote", "predict", "drift", "retrain"],
  load: () => read(["health"]),
  tools: (state) => badge(state.status === "ok" ? "ok" : "waiting", state.status === "ok" ? "all well" : "needs a look"),
  draw: (state, context) => [components(state.components), disk(state.disk), queue(state), lastGood(state.dags, context)],
};

function components(all) {
  const trouble = (one) => one.status !== "ok" && one.detail;
  return h("ul", { class: "components" }, all.map((one) => h("li", { title: one.heartbeat ? `last sign of life ${one.heartbeat}` : null }, mark(one.status === "ok" ? "good" : one.status === "bad" ? "bad" : "idle"),
    one.name.replaceAll("_", " "), h("span", { class: "unseen" }, ` ${one.status}`), trouble(one) ? h("span", { class: "soft" }, ` ${one.detail}`) : null)));
}

function disk(state) {
  return h("p", { class: "between" }, h("span", null, "Disk ", h("b", null, bytes(state.free_bytes)), h("span", { class: "soft" }, ` free of ${bytes(state.total_bytes)}`)),
    h("meter", { min: 0, max: 1, high: 0.9, optimum: 0, value: state.used_fraction, "aria-label": `Disk ${Math.round(100 * state.used_fraction)}% full` }));
}

function queue({ queue: tasks, devices }) {
  const pools = (tasks.pools ?? []).filter((pool) => pool.name === "gpu");
  return facts([["Tasks running", count(tasks.running)], ["waiting", count((tasks.queued ?? 0) + (tasks.scheduled ?? 0))],
    ...pools.map((pool) => ["Training slots", `${pool.running} of ${pool.slots} taken`]),
    ["Devices", devices?.length ? devices.map((one) => `${one.name} ${one.leased ? "in use" : "free"}`).join(", ") : null]]);
}

function lastGood(dags, context) {
  const own = dags.filter((one) => one.project === context.project);
  return [h("h3", null, "Last good run"), shortened(own, 8, "DAGs", (shown) => h("ul", { class: "plain" }, shown.map((one) => h("li", { class: "between" },
    h("span", null, one.stage_dag, one.paused ? h("span", { class: "alias" }, "paused") : null), h("span", null, one.last_run?.state === "failed" ? [badge("failed", "last run failed"), " "] : null, one.last_success ? when(one.last_success) : h("span", { class: "soft" }, "never"))))))];
}
