// Dataset versions with what is in them, and what changed from one to the next.

import { read } from "../parts/api.js";
import { cutPatches } from "../parts/actions.js";
import { showDialog } from "../parts/confirm.js";
import { h, replace } from "../parts/dom.js";
import { empty, problemBox } from "../parts/panel.js";
import { act, facts, shortened, table, when } from "../parts/show.js";
import { count, counted, figure } from "../parts/words.js";

const SCENES = 100;

export const data = {
  id: "data",
  title: "Dataset versions",
  wide: "wide",
  stages: ["ingest", "retrain"],
  load: (context) => read(["projects", context.project, "dataset-versions"], { limit: 100 }),
  draw: ({ items, total }, context) => (items.length
    ? [shortened(items, 6, "versions", (shown) => table("Dataset versions", columns(context, items), shown)),
      total > items.length ? h("p", { class: "hint" }, `The newest ${items.length} of ${total} versions.`) : null]
    : empty("There is no dataset yet.", "Put scenes and labels into the drop zone, then start an ingest.")),
};

function columns(context, all) {
  const before = (row) => all[all.indexOf(row) + 1];
  return [
    { title: "Version", cell: (row) => h("b", null, row.version) },
    { title: "Scenes", number: true, cell: (row) => count(row.scenes) },
    { title: "Labelled", number: true, cell: (row) => count(row.labelled) },
    { title: "Polygons", number: true, cell: (row) => count(row.polygons) },
    { title: "Change", cell: changeWords },
    { title: "Made", cell: (row) => when(row.created) },
    { title: "", cell: (row) => h("span", { class: "row" },
      act(true, "Scenes", () => scenes(context, row.version), { kind: "link", key: `scenes-${row.version}` }),
      before(row) ? act(true, "Changes", () => changes(context, before(row).version, row.version), { kind: "link", key: `changes-${row.version}` }) : null,
      act(context.may("patch"), "Cut …", () => cutPatches(context, row.version), { kind: "link", key: `cut-${row.version}` })) },
  ];
}

function changeWords({ changes, message }) {
  if (!changes?.length) return message ?? "–";
  const more = changes.length > 1 ? ` and ${changes.length - 1} more` : "";
  return h("span", { class: "clip short", title: changes.join("\n") }, `${changes[0]}${more}`);
}

async function scenes(context, version) {
  const box = h("div", null, h("p", { class: "loading" }, "Loading …"));
  showDialog(`Scenes of dataset ${version}`, box, { wide: true });
  const columnsOf = [
    { title: "Scene", cell: (row) => row.scene }, { title: "Size", number: true, cell: (row) => `${count(row.width)} × ${count(row.height)}` },
    { title: "Bands", number: true, cell: (row) => figure(row.bands) }, { title: "GSD", number: true, cell: (row) => (row.gsd_m ? `${figure(row.gsd_m)} m` : "–") },
    { title: "CRS", cell: (row) => row.crs ?? "pixels" }, { title: "Polygons", number: true, cell: (row) => (row.labelled ? count(row.polygons) : "no labels") },
    { title: "Ingested", cell: (row) => when(row.ingested_at) },
  ];
  const load = async (offset) => {
    try {
      const { scene_list: list } = await read(["projects", context.project, "dataset-versions", version], { limit: SCENES, offset });
      const turn = (label, to, possible) => h("button", { type: "button", class: "button", disabled: !possible, data: { key: label }, on: { click: () => load(to) } }, label);
      replace(box, table(`Scenes of ${version}`, columnsOf, list.items),
        list.total > SCENES ? h("p", { class: "row" }, turn("Previous", offset - SCENES, offset > 0), `${offset + 1} to ${offset + list.items.length} of ${list.total}`, turn("Next", offset + SCENES, offset + SCENES < list.total)) : null);
    } catch (error) {
      replace(box, problemBox(error, () => load(offset)));
    }
  };
  load(0);
}

async function changes(context, older, newer) {
  const box = h("div", null, h("p", { class: "loading" }, "Comparing …"));
  showDialog(`From dataset ${older} to ${newer}`, box, { wide: true });
  try {
    replace(box, changed(await read(["projects", context.project, "dataset-versions", older, "diff", newer])));
  } catch (error) {
    replace(box, problemBox(error));
  }
}

function changed(diff) {
  const lists = Object.entries(diff).filter(([name, value]) => Array.isArray(value) && value.length && name !== "labels");
  const labels = Object.entries(diff.labels ?? {}).map(([scene, label]) => ({ scene, ...label }));
  const labelColumns = [{ title: "Scene", cell: (row) => row.scene }, { title: "Polygons added", number: true, cell: (row) => count(row.added) }, { title: "Polygons removed", number: true, cell: (row) => count(row.removed) }];
  if (!lists.length && !labels.length) return h("p", null, "Nothing differs.");
  return [
    facts(lists.map(([name, value]) => [name.replaceAll("_", " "), counted(value.length, "scene")])),
    lists.map(([name, value]) => h("details", null, h("summary", null, `${name.replaceAll("_", " ")}: ${counted(value.length, "scene")}`), h("p", { class: "soft" }, value.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ")))),
    labels.length ? [h("h3", null, "Labels"), shortened(labels, 10, "scenes", (shown) => table("Changed labels", labelColumns, shown))] : null,
  ];
}
