// The last predictions, each over the pixels of its scene.

import { read } from "../parts/api.js";
import { predict } from "../parts/actions.js";
import { h, replace } from "../parts/dom.js";
import { empty, problemBox } from "../parts/panel.js";
import { act, facts, when } from "../parts/show.js";
import { area, bytes, count, counted } from "../parts/words.js";
import { lineageButton } from "./lineage.js";
import { mapView } from "./map_view.js";

const PAGE = 100;

export const maps = {
  id: "maps",
  title: "Maps",
  stages: ["predict"],
  load: (context) => read(["projects", context.project, "predictions"], { limit: PAGE }),
  tools: (_, context) => act(context.may("predict"), "Make maps …", () => predict(context), { key: "predict" }),
  draw: (list, context) => [damaged(list), list.items.length ? viewer(list, context)
    : list.total ? null : empty("No scene has been mapped yet.", "Maps are made by themselves when a model becomes champion.")],
};

function damaged(list) {
  if (!list.damaged.length) return null;
  return h("div", { class: "problem", role: "alert" }, h("p", { class: "problem-what" }, `${counted(list.damaged.length, "map")} cannot be read.`),
    h("ul", null, list.damaged.map((why) => h("li", null, why))));
}

function viewer(list, context) {
  const stage = h("div", { class: "map-stage", "aria-live": "off" });
  const entries = h("ul", { class: "map-list", "aria-label": "Maps" });
  const search = h("input", { type: "search", placeholder: "Find a scene", "aria-label": "Find a scene", data: { key: "find-scene" }, on: { input: () => find(search.value.trim()) } });
  const note = h("p", { class: "hint", role: "status" });
  let chosen = null;

  function show(items, total) {
    replace(entries, items.map((one) => h("li", null, h("button", { type: "button", class: "map-entry", data: { key: `map-${one.scene}-${one.model}` },
      "aria-pressed": String(one === chosen), on: { click: () => choose(one) } },
    h("b", null, one.scene), h("span", { class: "soft" }, `${one.model} · ${counted(one.objects, "object")} · `, when(one.created))))));
    note.textContent = total > items.length ? `The newest ${items.length} of ${total}. Others by their whole name.` : items.length ? "" : "No scene of this name has a map.";
  }

  async function choose(one) {
    chosen = one;
    for (const button of entries.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.key === `map-${one.scene}-${one.model}`));
    try {
      const prediction = await read(["projects", context.project, "predictions", one.scene, one.model]);
      if (chosen === one) replace(stage, mapView(prediction), about(prediction, context));
    } catch (error) {
      if (chosen === one) replace(stage, problemBox(error, () => choose(one)));
    }
  }

  let typed = 0;
  function find(text) {
    const turn = ++typed;
    const near = list.items.filter((one) => one.scene.toLowerCase().includes(text.toLowerCase()));
    if (near.length || list.total === list.items.length) {
      show(near, text ? near.length : list.total);
      return;
    }
    setTimeout(async () => { // older maps: the server finds them by the scene's whole name
      if (turn !== typed) return;
      const found = await read(["projects", context.project, "predictions"], { limit: PAGE, scene: text }).catch(() => ({ items: [], total: 0 }));
      if (turn === typed) show(found.items, found.total);
    }, 300);
  }

  show(list.items, list.total);
  choose(list.items[0]);
  return h("div", { class: "maps" }, stage, h("div", { class: "map-side" }, search, entries, note));
}

function about(prediction, context) {
  return h("div", { class: "map-about" },
    facts([["Scene", prediction.scene], ["Model", prediction.model], ["Objects", count(prediction.objects)], ["Area", area(prediction.area_m2)],
      ["Made", when(prediction.created)], ["Engine", prediction.engine], ["Coordinates", prediction.coordinates], ["Size", `${count(prediction.width)} × ${count(prediction.height)} px`]]),
    h("p", { class: "row" }, lineageButton(context, `prediction:${prediction.scene}/${prediction.model}`)),
    h("details", null, h("summary", null, `${counted(prediction.files.length, "file")} to download`),
      h("ul", { class: "files" }, prediction.files.map((file) => h("li", null, h("a", { href: file.url, download: file.name }, file.name), h("span", { class: "soft" }, ` ${file.title ?? ""} ${bytes(file.bytes)}`))))));
}
