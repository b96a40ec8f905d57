// The trend: how surprising each night is. Up is more surprising; above the threshold the night has drifted.

import { h, s } from "../parts/dom.js";
import { figure } from "../parts/words.js";
import { showReport } from "./drift_report.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [760, 250, 62, 14, 16, 34];
const LEAST_P = 1e-4;

/** Return the chart of a trend; a night with a report opens it. */
export function driftChart(trend, nights, context) {
  const reported = new Set(nights.filter((night) => night.report).map((night) => night.night));
  const deepest = Math.min(0.001, ...[...trend.p_value, ...trend.level].filter((value) => value !== null && value > 0));
  const floor = Math.max(LEAST_P / 10, deepest / 1.5);
  const y = (p) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (Math.log(Math.max(p, floor)) / Math.log(floor));
  const x = places(trend.nights);
  const points = trend.nights.map((night, index) => (trend.p_value[index] === null ? null : point(night, index, { trend, x, y, reported, context })));
  return h("figure", { class: "chart" },
    h("figcaption", null, "How unlike the training data each night is ", h("span", { class: "soft" }, "(p-value, small is up; above the dashed line it is drift)")),
    s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": `Drift trend over ${trend.nights.length} nights; the table below has the numbers` },
      scale(y, floor), threshold(trend, x, y), dates(trend.nights, x), points),
    h("ul", { class: "legend" }, h("li", null, key("quiet"), "quiet"), h("li", null, key("drifted"), "drifted"), h("li", null, key("alarm"), "alarm: a retraining was started")));
}

/** Place nights by their date, so that missing ones leave a gap. */
function places(nights) {
  const days = nights.map((night) => Date.parse(night) / 864e5);
  const span = Math.max(days.at(-1) - days[0], 1);
  const alone = nights.length === 1;
  return (index) => (alone ? (LEFT + WIDTH - RIGHT) / 2 : LEFT + 12 + ((WIDTH - LEFT - RIGHT - 24) * (days[index] - days[0])) / span);
}

function scale(y, floor) {
  const ticks = [1, 0.1, 0.01, 0.001, 0.0001].filter((tick) => tick >= floor);
  return ticks.map((tick) => [s("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }), s("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, String(tick))]);
}

function threshold(trend, x, y) {
  const known = trend.level.map((level, index) => [level, index]).filter(([level]) => level !== null);
  if (!known.length) return null;
  const last = known.at(-1);
  const steps = known.map(([level, index], place) => `${place ? "L" : `M${LEFT} ${y(level).toFixed(1)}L`}${x(index).toFixed(1)} ${y(level).toFixed(1)}`).join("");
  return [s("path", { class: "threshold", d: `${steps}H${WIDTH - RIGHT}` }), s("text", { class: "threshold-words", x: LEFT + 6, y: y(last[0]) - 6 }, `threshold ${figure(last[0])}`)];
}

function dates(nights, x) {
  const most = 7;
  const step = Math.max(1, Math.ceil(nights.length / most));
  return nights.map((night, index) => ((nights.length - 1 - index) % step === 0 ? s("text", { x: x(index), y: HEIGHT - 12, "text-anchor": "middle" }, night.slice(5)) : null));
}

function point(night, index, { trend, x, y, reported, context }) {
  const [p, drifted, alarm] = [trend.p_value[index], trend.drifted[index], trend.alarm[index]];
  const kind = alarm ? "alarm" : drifted ? "drifted" : "quiet";
  const label = `Night ${night}: p-value ${figure(p)}, ${alarm ? "drifted, alarm" : drifted ? "drifted" : "quiet"}`;
  const shape = [s("title", null, label), s("circle", { class: "target", r: 11 }), s("path", { class: `night ${kind}`, d: SHAPES[kind] })];
  const transform = `translate(${x(index).toFixed(1)} ${y(p).toFixed(1)})`;
  if (!reported.has(night)) return s("g", { transform, role: "img", "aria-label": label }, shape);
  const open = () => showReport(context, night);
  return s("g", { transform, role: "button", tabindex: "0", class: "open", "aria-label": `${label}. Open the report`, "data-key": `night-${night}`,
    on: { click: open, keydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); } } } }, shape);
}

const SHAPES = { quiet: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", drifted: "M0-6 6 0 0 6-6 0Z", alarm: "M0-8 8 6H-8Z" };

function key(kind) {
  return s("svg", { class: "key", viewBox: "-9 -9 18 18", "aria-hidden": "true" }, s("path", { class: `night ${kind}`, d: SHAPES[kind] }));
}
