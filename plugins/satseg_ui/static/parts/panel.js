// A panel: a titled region that loads its data, shows it, and says what is wrong when it cannot.

import { Problem } from "./api.js";
import { h, replace } from "./dom.js";
import { embedded } from "./frame.js";

/**
 * Make a panel.
 * @param {{id: string, title: string, wide?: string, stages?: string[], load: Function, draw: Function, tools?: Function}} plan
 *   `load(context)` gives the data; `draw(data, context)` the nodes; `tools(data, context)` the buttons beside the title;
 *   `stages`: the stages of the loop after whose change the panel is old.
 */
export function panel(plan, context) {
  const body = h("div", { class: "panel-body" }, h("p", { class: "loading" }, "Loading …"));
  const tools = h("div", { class: "tools" });
  const heading = h("h2", { id: `${plan.id}-title`, tabindex: "-1" }, plan.title);
  const element = h("section", { class: `panel ${plan.wide ?? "whole"}`, id: plan.id, "aria-labelledby": heading.id, "aria-busy": "true" },
    h("div", { class: "panel-head" }, heading, tools), body);
  let shown = null;
  let asked = 0;

  async function refresh() {
    const turn = ++asked;
    try {
      const data = await plan.load(context);
      if (turn !== asked || !element.isConnected) return; // a later refresh, or another project, has overtaken this one
      const print = JSON.stringify(data);
      if (print === shown && !plan.always) return;
      shown = print;
      replace(body, plan.draw(data, context));
      replace(tools, plan.tools?.(data, context) ?? []);
    } catch (error) {
      if (turn !== asked) return;
      shown = null;
      if (!(error instanceof Problem)) console.error(error);
      replace(body, problemBox(error, refresh));
    } finally {
      if (turn === asked) element.setAttribute("aria-busy", "false");
    }
  }

  return { element, refresh, stages: plan.stages ?? [], id: plan.id };
}

/** Show a problem: what, why, and what to do next. */
export function problemBox(error, retry) {
  const known = error instanceof Problem;
  return h("div", { class: "problem", role: "alert" },
    h("p", { class: "problem-what" }, known ? error.detail : `This panel could not be drawn: ${error.message}`),
    known && error.fields.length ? h("ul", null, error.fields.map((one) => h("li", null, h("b", null, one.field), `: ${one.message}`))) : null,
    known && error.next ? h("p", { class: "problem-next" }, error.next) : null,
    h("p", { class: "row" },
      known && error.status === 401 ? h("a", { class: "button", href: loginAddress(), target: "_top" }, "Log in") : null,
      retry ? h("button", { type: "button", class: "button", data: { key: "retry" }, on: { click: retry } }, "Try again") : null));
}

function loginAddress() {
  const back = embedded ? new URL("../../plugin/satseg", document.baseURI) : location.href;
  return `${new URL("../../api/v2/auth/login", document.baseURI).pathname}?next=${encodeURIComponent(back)}`;
}

/** Say that there is nothing yet, and what makes it appear. */
export function empty(what, next, ...more) {
  return h("div", { class: "empty" }, h("p", { class: "empty-what" }, what), next ? h("p", null, next) : null, more);
}
