// The loop as a picture: each stage with its state, its newest product, and a way to the panel that tells more.

import { read } from "../parts/api.js";
import { h, s } from "../parts/dom.js";
import { ago, duration, stateWords } from "../parts/words.js";

// column of each stage; retraining stands below, on the way back from drift to promotion
const STAGES = {
  ingest: { title: "Data", section: "data", column: 0, product: (one) => `dataset ${one}` },
  patch: { title: "Patches", section: "split-map", column: 1, product: (one) => `set ${one}` },
  train: { title: "Training", section: "training", column: 2, product: (one) => `model ${one}` },
  promote: { title: "Promotion", section: "champion", column: 3, product: (one) => `champion ${one}` },
  predict: { title: "Maps", section: "maps", column: 4, product: (one) => `${one}` },
  drift: { title: "Drift test", section: "drift", column: 5, product: (one) => `night ${one}` },
  retrain: { title: "Retraining", section: "training", column: 4, below: true, product: (one) => `model ${one}` },
};
const [WIDTH, HEIGHT, GAP] = [168, 84, 36];
const MARKS = { good: "M-4 0.5-1 3.5 4.5-3.5", bad: "M-3.5-3.5 3.5 3.5M3.5-3.5-3.5 3.5", warn: "M0-4.5V1M0 3.8V4.2", busy: "M0-4V0L3 2", idle: "M-3.5 0H3.5" };

export const loop = {
  id: "loop",
  title: "The loop",
  stages: Object.keys(STAGES),
  load: (context) => read(["projects", context.project, "loop"]),
  draw: ({ stages }, context) => {
    const total = 6 * WIDTH + 5 * GAP + 8;
    return [
      h("p", { class: "soft description" }, context.details.description),
      h("div", { class: "loop-scroll", tabindex: "0", role: "group", "aria-label": "The stages and their state" },
        s("svg", { class: "loop", viewBox: `0 0 ${total} ${2 * HEIGHT + 56}`, role: "list", "aria-label": "Stages" }, arrows(),
          stages.filter((stage) => STAGES[stage.stage]).map((stage) => box(stage, context)))),
    ];
  },
};

function corner(place) {
  return [4 + place.column * (WIDTH + GAP), place.below ? HEIGHT + 48 : 4];
}

function arrows() {
  const ahead = [0, 1, 2, 3, 4].map((column) => `M${4 + WIDTH + column * (WIDTH + GAP) + 5} ${4 + HEIGHT / 2}h${GAP - 12}`);
  const [x, y] = corner(STAGES.retrain);
  const driftMiddle = corner(STAGES.drift)[0] + WIDTH / 2;
  const promoteMiddle = corner(STAGES.promote)[0] + WIDTH / 2;
  const bottom = 4 + HEIGHT + 6;
  const back = [`M${driftMiddle} ${bottom}V${y + HEIGHT / 2}H${x + WIDTH + 8}`, `M${x - 6} ${y + HEIGHT / 2}H${promoteMiddle}V${bottom + 2}`];
  return [
    s("defs", null, s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" }, s("path", { class: "tip", d: "M0.5 0.5 7 4 0.5 7.5Z" }))),
    [...ahead, ...back].map((d) => s("path", { class: "arrow", d, "marker-end": "url(#tip)" })),
    s("text", { class: "arrow-words", x: driftMiddle - 8, y: bottom + 22, "text-anchor": "end" }, "when it drifts"),
    s("text", { class: "arrow-words", x: promoteMiddle + 8, y: bottom + 22 }, "a new challenger"),
  ];
}

function box(stage, context) {
  const place = STAGES[stage.stage];
  const [x, y] = corner(place);
  const [tone, words] = stateWords(stage.state);
  const state = told(stage, words);
  const product = stage.product ? place.product(stage.product) : "nothing yet";
  const lines = [[place.title, "stage-title", 27], [product, "stage-product", 48], [state, "stage-state", 68]];
  const label = `${place.title}: ${state}; ${product}${stage.paused ? "; the DAG is paused" : ""}`;
  return s("a", { href: `#${encodeURIComponent(context.project)}/${place.section}`, class: `stage ${tone}`, role: "listitem", "aria-label": label, "data-key": `stage-${stage.stage}` },
    s("title", null, label),
    s("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 9 }),
    s("g", { class: `stage-mark ${tone}`, transform: `translate(${x + WIDTH - 20} ${y + 21})` }, s("circle", { r: 8.5 }), s("path", { d: MARKS[tone] })),
    lines.map(([text, name, down]) => s("text", { class: name, x: x + 14, y: y + down }, text)),
    stage.paused ? s("text", { class: "stage-paused", x: x + WIDTH - 36, y: y + 26, "text-anchor": "end" }, "paused") : null);
}

/** The state in the few words that fit into a box. */
function told({ state, last_run: run }, words) {
  if (state === "waiting") return "needs a decision";
  if (state === "running") return `running, ${duration(run?.started_at)}`;
  return run?.ended_at ? `${words} ${ago(run.ended_at)}` : words;
}
