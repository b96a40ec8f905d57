// Drift over the nights: the trend with its threshold, the state of the episode, and every night's report.

import { read } from "../parts/api.js";
import { retrain, testDrift } from "../parts/actions.js";
import { sparkline } from "../parts/charts.js";
import { h } from "../parts/dom.js";
import { empty } from "../parts/panel.js";
import { act, badge, mark, shortened, table, when } from "../parts/show.js";
import { count, counted, figure, versionName } from "../parts/words.js";
import { driftChart } from "./drift_chart.js";
import { reportButton } from "./drift_report.js";

const NIGHTS = 90;
const FEATURES = 6;

export const drift = {
  id: "drift",
  title: "Drift",
  stages: ["drift", "retrain", "promote"],
  load,
  tools: (_, context) => [act(context.may("drift"), "Test now …", () => testDrift(context), { key: "test-drift" }),
    act(context.may("retrain"), "Retrain …", () => retrain(context), { key: "retrain" })],
  draw: ({ state, nights, trend }, context) => (nights.items.length ? drawn(state, nights, trend, context)
    : empty("No night has been tested yet.", "New scenes are compared with the champion's training data every night.")),
};

async function load(context) {
  const route = ["projects", context.project, "drift"];
  const [state, nights, trend] = await Promise.all([read(route), read([...route, "nights"], { limit: NIGHTS }), read([...route, "trend"], { nights: NIGHTS })]);
  return { state, nights, trend };
}

function drawn(state, nights, trend, context) {
  return [verdict(state, context),
    h("div", { class: "drift" }, driftChart(trend, nights.items, context), features(trend)),
    shortened(nights.items, 5, "nights", (shown) => table("Tested nights", columns(context), shown, { rowClass: (row) => (row.drifted ? "drifted" : null) })),
    nights.total > nights.items.length ? h("p", { class: "hint" }, `The newest ${nights.items.length} of ${nights.total} nights.`) : null,
    episodes(state.episodes ?? [])];
}

function verdict({ latest, episode, status, rule, false_alarm_rate: rate }) {
  const tone = episode ? "bad" : latest?.drifted ? "warn" : latest?.verdict === "no drift" ? "good" : "idle";
  const what = episode ? `The new scenes have drifted: an episode is open since night ${episode.night}.`
    : latest?.drifted ? `Night ${latest.night} differs from the training data.` : latest?.verdict === "no drift" ? "No drift: the new scenes look like the training data." : `Last night: ${latest?.verdict ?? "not tested"}.`;
  const why = episode?.reason ?? status?.reason;
  return h("div", { class: `verdict ${tone}` }, mark(tone), h("div", null, h("p", null, h("b", null, what)), why ? h("p", { class: "soft" }, why) : null,
    h("p", { class: "hint" }, `An alarm needs ${rule.nights} of ${rule.of} nights; in quiet times ${figure(100 * rate)}% false alarms are allowed. `,
      episode ? "No second retraining starts until a challenger is promoted or the episode is closed." : null)));
}

function features(trend) {
  const names = Object.keys(trend.distances ?? {}).slice(0, FEATURES);
  if (!names.length) return null;
  const last = (values) => values.findLast((value) => value !== null) ?? null;
  return h("div", { class: "features" }, h("h3", null, "What moved most"),
    h("p", { class: "hint" }, "Distance of each feature from the training data, over the nights."),
    h("ul", null, names.map((name) => h("li", null, h("span", null, name.replaceAll("_", " ")),
      sparkline(trend.distances[name], `${name}: last distance ${figure(last(trend.distances[name]))}`), h("b", null, figure(last(trend.distances[name])))))));
}

function columns(context) {
  return [
    { title: "Night", cell: (row) => [row.night, row.alarm ? h("span", { class: "alias alarm" }, "alarm") : null] },
    { title: "Verdict", cell: (row) => badge(row.drifted ? "failed" : row.verdict === "no drift" ? "success" : "never", row.verdict) },
    { title: "p-value", number: true, cell: (row) => figure(row.p_value) },
    { title: "Threshold", number: true, cell: (row) => figure(row.level) },
    { title: "Kind", cell: (row) => row.kinds?.join(", ") || "–" },
    { title: "Scenes", number: true, cell: (row) => count(row.scenes) },
    { title: "Champion", cell: (row) => versionName(row.champion) },
    { title: "", cell: (row) => (row.report ? reportButton(context, row.night) : null) },
  ];
}

function episodes(all) {
  if (!all.length) return null;
  const newest = [...all].reverse();
  return h("details", null, h("summary", null, counted(all.length, "drift episode")),
    h("ul", { class: "plain" }, newest.map((one) => h("li", null, h("b", null, one.night), ` ${one.reason} `, h("span", { class: "soft" }, "opened ", when(one.opened_at),
      one.closed_at ? [", closed ", when(one.closed_at), one.close_reason ? `: ${one.close_reason}` : ""] : ", still open")))));
}
