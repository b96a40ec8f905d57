// Small pieces that many panels share: states, facts, tables, times.

import { h, s } from "./dom.js";
import { ago, moment, stateWords } from "./words.js";

const MARKS = {
  good: "M3.5 8.5 6.7 11.5 12.5 4.8", bad: "M4.5 4.5 11.5 11.5M11.5 4.5 4.5 11.5", warn: "M8 3.6V9M8 11.6V12.2",
  busy: "M8 4V8L10.8 9.8", idle: "M4.5 8H11.5",
};

/** A state as a mark and a word: never by colour alone. `words` replaces the usual word. */
export function badge(state, words) {
  const [tone, usual] = stateWords(state);
  return h("span", { class: `badge ${tone}` }, mark(tone), words ?? usual);
}

/** The mark of a tone, hidden from screen readers. */
export function mark(tone) {
  return s("svg", { class: `mark ${tone}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    s("circle", { cx: 8, cy: 8, r: 7 }), s("path", { d: MARKS[tone] }));
}

/** Name and value pairs; pairs with a null value are left out. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** A time as people say it, with the exact one as title and for machines. */
export function when(iso) {
  return iso ? h("time", { datetime: iso, title: `${moment(iso)} (your time)` }, ago(iso)) : "–";
}

/**
 * A table.
 * @param {string} caption read by screen readers
 * @param {{title: string, cell: Function, number?: boolean}[]} columns
 * @param {object[]} rows
 * @param {{rowClass?: Function}} options
 */
export function table(caption, columns, rows, { rowClass } = {}) {
  const head = columns.map((column) => h("th", { scope: "col", class: column.number ? "n" : null }, column.title));
  const cell = (column, row, index) => h(index ? "td" : "th", { scope: index ? null : "row", class: column.number ? "n" : null }, column.cell(row));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    h("table", null, h("caption", { class: "unseen" }, caption), h("thead", null, h("tr", null, head)),
      h("tbody", null, rows.map((row) => h("tr", { class: rowClass?.(row) }, columns.map((column, index) => cell(column, row, index)))))));
}

/** A button that starts something; null when the reader may not. */
export function act(allowed, label, onClick, { kind = "", key } = {}) {
  return allowed ? h("button", { type: "button", class: `button ${kind}`, data: { key: key ?? label }, on: { click: onClick } }, label) : null;
}

/** A link into Airflow or MLflow; plain text where there is no address. */
export function leave(href, text, target = "_top") {
  return href ? h("a", { href, target, rel: "noopener", class: "leave" }, text) : text;
}

/** A list that shows its first lines and the rest on demand; `draw(items)` makes the nodes. */
export function shortened(items, most, word, draw) {
  const box = h("div");
  const show = (all) => {
    const more = items.length > most
      ? h("button", { type: "button", class: "link", "aria-expanded": String(all), on: { click: () => { show(!all); box.querySelector(":scope > button").focus(); } } },
          all ? "Show fewer" : `Show all ${items.length} ${word}`)
      : null;
    box.replaceChildren(draw(all ? items : items.slice(0, most)), ...(more ? [more] : []));
  };
  show(false);
  return box;
}
