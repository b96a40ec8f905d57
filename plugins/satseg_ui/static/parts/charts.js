// Pictures of numbers in SVG: interval bars, sparklines, line charts.

import { h, s } from "./dom.js";
import { interval, score } from "./words.js";

/** A score on the line from 0 to 1 with its interval, and a tick for the all-positive map. */
export function intervalBar(value, low, high, baseline) {
  const x = (part) => 4 + 292 * Math.min(1, Math.max(0, part));
  const told = `${score(value)}${interval(low, high) ? `, 95% interval ${interval(low, high)}` : ""}${baseline === null || baseline === undefined ? "" : `, all-positive map ${score(baseline)}`}`;
  return s("svg", { class: "interval-bar", viewBox: "0 0 300 34", role: "img", "aria-label": told },
    s("line", { class: "axis", x1: x(0), x2: x(1), y1: 17, y2: 17 }),
    [0, 0.25, 0.5, 0.75, 1].map((tick) => s("line", { class: "axis", x1: x(tick), x2: x(tick), y1: 14, y2: 20 })),
    baseline === null || baseline === undefined ? null : s("path", { class: "baseline", d: `M${x(baseline)} 7v20` }),
    low === null || low === undefined ? null : s("rect", { class: "range", x: x(low), y: 12, width: Math.max(2, x(high) - x(low)), height: 10, rx: 2 }),
    s("circle", { class: "value", cx: x(value), cy: 17, r: 5 }));
}

/** A line through values that may be missing, without axes. */
export function sparkline(values, label, { width = 120, height = 26 } = {}) {
  const known = values.filter((value) => value !== null);
  const top = Math.max(...known, 1e-9);
  const x = (index) => 2 + ((width - 4) * index) / Math.max(1, values.length - 1);
  const y = (value) => height - 3 - ((height - 6) * value) / top;
  const last = values.findLastIndex((value) => value !== null);
  return s("svg", { class: "sparkline", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    s("path", { d: linePath(values, x, y) }), last >= 0 ? s("circle", { cx: x(last), cy: y(values[last]), r: 2.4 }) : null);
}

/** Return the path through values, broken where one is missing; a value alone between gaps is a short dash. */
export function linePath(values, x, y) {
  let path = "";
  let open = false;
  values.forEach((value, index) => {
    if (value !== null && value !== undefined) {
      const command = open ? "L" : "M";
      path += `${command}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      if (!open && (values[index + 1] ?? null) === null) path += "h0.01";
      open = true;
    } else open = false;
  });
  return path;
}

/** A curve over steps with a labelled last value, for live training metrics. */
export function curve(points, name, steps) {
  const [width, height, left, bottom] = [250, 120, 34, 20];
  const values = points.map((point) => point.value);
  const [least, most] = [Math.min(0, ...values), Math.max(name.includes("loss") ? 0.1 : 1, ...values)];
  const last = Math.max(steps ?? 0, ...points.map((point) => point.step), 1);
  const x = (step) => left + ((width - left - 8) * step) / last;
  const y = (value) => height - bottom - ((height - bottom - 8) * (value - least)) / (most - least || 1);
  const path = points.map((point, index) => `${index ? "L" : "M"}${x(point.step).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
  const ticks = [least, (least + most) / 2, most];
  return h("figure", { class: "curve" },
    s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name} over epochs, last ${score(values.at(-1))}` },
      ticks.map((tick) => [s("line", { class: "axis", x1: left, x2: width - 8, y1: y(tick), y2: y(tick) }), s("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(2))]),
      [0, last].map((step) => s("text", { x: x(step), y: height - 6, "text-anchor": step ? "end" : "start" }, `epoch ${step}`)),
      s("path", { class: "line", d: path }), points.length ? s("circle", { class: "value", cx: x(points.at(-1).step), cy: y(values.at(-1)), r: 3.5 }) : null),
    h("figcaption", null, name));
}
