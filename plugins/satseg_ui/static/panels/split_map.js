// Where training, validation and test ground lie in the scenes of a patch set.

import { read } from "../parts/api.js";
import { h, replace } from "../parts/dom.js";
import { empty, problemBox } from "../parts/panel.js";
import { facts, when } from "../parts/show.js";
import { count, counted } from "../parts/words.js";

const PER_PAGE = 6;
const SIDE_PX = 150;
const SPLITS = ["train", "val", "test"];
const COLOURS = { train: "--split-train", val: "--split-val", test: "--split-test" };

export const splitMap = {
  id: "split-map",
  title: "Patch sets",
  wide: "wide",
  stages: ["patch", "retrain"],
  load: (context) => read(["projects", context.project, "patch-sets"], { limit: 50 }),
  draw: ({ items }, context) => (items.length ? sets(items, context)
    : empty("No patches have been cut yet.", "A new dataset version starts it by itself.")),
};

function sets(items, context) {
  const about = h("div");
  const chooser = h("select", { id: "patch-set", data: { key: "patch-set" }, on: { change: () => show(items[chooser.selectedIndex]) } },
    items.map((one) => h("option", { value: one.id }, `${one.id} of dataset ${one.dataset_version}`)));
  const show = (one) => {
    const maps = h("div", { class: "split-maps" });
    const kept = one.windows;
    replace(about,
      facts([["Dataset", one.dataset_version], ["Made", when(one.created)], ["Window", `${one.size_px} px`], ...SPLITS.map((name) => [title(name), splitWords(one, name)])]),
      bar(kept), (one.warnings ?? []).map((text) => h("p", { class: "callout warn" }, text)),
      h("ul", { class: "legend" }, SPLITS.map((name) => h("li", null, h("span", { class: `swatch ${name}` }), title(name)))), maps);
    scenes(context, one, maps, 0);
  };
  show(items[0]);
  return [h("p", { class: "row" }, h("label", { for: "patch-set" }, "Patch set"), chooser), about];
}

function title(split) {
  return { train: "Training", val: "Validation", test: "Test" }[split];
}

function splitWords(one, name) {
  const fraction = one.positive_fractions?.[name];
  return `${count(one.windows[name])}${fraction === undefined || fraction === null ? "" : ` (${Math.round(100 * fraction)}% labelled)`}`;
}

function bar(windows) {
  const total = SPLITS.reduce((sum, name) => sum + (windows[name] ?? 0), 0) || 1;
  return h("div", { class: "split-bar", "aria-hidden": "true" }, SPLITS.map((name) => h("span", { class: name, style: { width: `${(100 * (windows[name] ?? 0)) / total}%` } })));
}

async function scenes(context, one, box, offset) {
  try {
    const map = await read(["projects", context.project, "patch-sets", one.id, "split-map"], { limit: PER_PAGE, offset });
    const turn = (label, to, possible) => h("button", { type: "button", class: "button", disabled: !possible, data: { key: `split-${label}` }, on: { click: () => scenes(context, one, box, to) } }, label);
    replace(box, h("div", { class: "split-grid" }, map.scenes.map((scene) => sceneMap(scene, map.size_px ?? one.size_px))),
      one.scenes > PER_PAGE ? h("p", { class: "row" }, turn("Previous", offset - PER_PAGE, offset > 0),
        `Scenes ${offset + 1} to ${offset + map.scenes.length} of ${count(one.scenes)}`, turn("Next", offset + PER_PAGE, offset + PER_PAGE < one.scenes)) : null);
  } catch (error) {
    replace(box, problemBox(error, () => scenes(context, one, box, offset)));
  }
}

/** Draw the windows of a scene; a canvas, because there may be thousands. */
function sceneMap(scene, size) {
  const scale = SIDE_PX / Math.max(scene.width, scene.height);
  const [width, height] = [Math.max(1, Math.round(scene.width * scale)), Math.max(1, Math.round(scene.height * scale))];
  const counts = SPLITS.map((name) => [name, scene.windows.filter((window) => window.split === name).length]);
  const told = counts.filter(([, number]) => number).map(([name, number]) => `${number} ${name}`).join(", ");
  const canvas = h("canvas", { width: 2 * width, height: 2 * height, role: "img", "aria-label": `${scene.scene}: ${told || "no windows"}`, style: { width: `${width}px`, height: `${height}px` } });
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  pen.globalAlpha = 0.4;
  for (const window of scene.windows) {
    pen.fillStyle = style.getPropertyValue(COLOURS[window.split]);
    const side = 2 * (window.size ?? size) * scale;
    pen.fillRect(2 * window.column * scale, 2 * window.row * scale, side, side);
  }
  return h("figure", null, canvas, h("figcaption", null, scene.scene, h("span", { class: "soft" }, ` ${counted(scene.windows.length, "window")}`)));
}
