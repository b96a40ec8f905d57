// Short messages at the edge of the page, and words for screen readers alone.

import { h } from "./dom.js";

const STAYS_MS = 9000;

/** Say something that happened; bad news stays until it is closed. `link`: {href, text} into Airflow. */
export function notice(tone, text, link) {
  const close = h("button", { class: "quiet", type: "button", "aria-label": "Close this message", on: { click: () => box.remove() } }, "×");
  const box = h("div", { class: `notice ${tone}`, role: tone === "bad" ? "alert" : "status" },
    h("p", null, text, link && " ", link && h("a", { href: link.href, target: "_top" }, link.text)), close);
  document.getElementById("notices").append(box);
  if (tone !== "bad") setTimeout(() => box.contains(document.activeElement) || box.remove(), STAYS_MS);
}

/** Tell screen readers about a change they cannot see. */
export function announce(text) {
  document.getElementById("live").textContent = text;
}
