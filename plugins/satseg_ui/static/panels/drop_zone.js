// The drop zone: what waits to be taken in, uploads, and scenes that were rejected.

import { Problem, read, upload } from "../parts/api.js";
import { ingest, removeIncoming } from "../parts/actions.js";
import { h } from "../parts/dom.js";
import { announce, notice } from "../parts/notices.js";
import { act, shortened } from "../parts/show.js";
import { bytes, counted } from "../parts/words.js";

const LABELS = [".json", ".geojson", ".gpkg", ".shp", ".shx", ".dbf", ".prj", ".cpg", ".csv"];

export const dropZone = {
  id: "drop-zone",
  title: "New scenes",
  wide: "narrow",
  stages: ["ingest", "retrain"],
  load,
  tools: ({ incoming }, context) => act(context.may("ingest"), "Ingest …", () => ingest(context, incoming.total), { kind: incoming.total ? "primary" : "", key: "ingest" }),
  draw: ({ incoming, quarantine }, context) => [
    context.may("upload") ? uploads(context, incoming.limits) : null,
    waiting(incoming, context),
    rejected(quarantine),
  ],
};

async function load(context) {
  const [incoming, quarantine] = await Promise.all(["incoming", "quarantine"].map((name) => read(["projects", context.project, name], { limit: 200 })));
  return { incoming, quarantine };
}

function waiting({ items, total }, context) {
  if (!total) return h("p", { class: "soft" }, "The drop zone is empty.");
  return [h("p", null, h("b", null, counted(total, "file")), " waiting"),
    shortened(items, 6, "files", (shown) => h("ul", { class: "plain" }, shown.map((file) => h("li", { class: "between" }, h("span", null, file.name, h("span", { class: "soft" }, ` ${bytes(file.bytes)}`)),
      context.may("upload") ? h("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.name}`, data: { key: `remove-${file.name}` }, on: { click: () => removeIncoming(context, file.name) } }, "×") : null))))];
}

function rejected({ items, total }) {
  if (!total) return null;
  return h("details", { class: "quarantine" }, h("summary", null, `${counted(total, "scene")} in quarantine`),
    h("ul", { class: "plain" }, items.map((one) => h("li", null, h("b", null, one.scene), h("ul", null, one.reasons.map((reason) => h("li", null, reason)))))),
    h("p", { class: "hint" }, "Mend the file or the project file, then ingest with “Check the quarantined scenes again”."));
}

function uploads(context, limits) {
  const progress = h("div", { class: "uploads" });
  const chooser = h("input", { type: "file", multiple: true, id: "upload", class: "unseen", accept: limits?.suffixes?.join(","), on: { change: () => take(chooser.files) } });
  const area = h("div", { class: "drop" }, chooser, h("label", { for: "upload", class: "button" }, "Upload scenes and labels …"),
    h("p", { class: "hint" }, `Or drop them here. ${limits ? `Scenes up to ${bytes(limits.scene_bytes)}, label files up to ${bytes(limits.label_bytes)}.` : ""}`));
  const take = async (files) => {
    for (const file of files) await send(context, file, progress, limits);
    context.changed("drop-zone");
  };
  for (const name of ["dragenter", "dragover"]) area.addEventListener(name, (event) => { event.preventDefault(); area.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) area.addEventListener(name, () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files); });
  return [area, progress];
}

async function send(context, file, progress, limits) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
  const line = h("div", { class: "upload" }, h("span", null, file.name), bar);
  progress.append(line);
  try {
    refuseEarly(file, limits);
    await upload(["projects", context.project, "incoming", file.name], null, file, (part) => { bar.value = part; });
    announce(`${file.name} is uploaded`);
  } catch (error) {
    notice("bad", `${file.name}: ${error.message} ${error.next ?? ""}`);
  }
  line.remove();
}

/** Save the reader from sending gigabytes only to have them refused. */
function refuseEarly(file, limits) {
  const label = LABELS.some((suffix) => file.name.toLowerCase().endsWith(suffix));
  const most = label ? limits?.label_bytes : limits?.scene_bytes;
  if (most && file.size > most) throw new Problem(413, "Too large", `${file.name} has ${bytes(file.size)}; at most ${bytes(most)} are taken.`);
}
