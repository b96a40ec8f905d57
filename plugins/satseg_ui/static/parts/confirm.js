// The dialog before something is started: it says what will happen, takes what is needed, and shows why it was refused.

import { h, freshId, replace } from "./dom.js";
import { fieldInput, fieldValues } from "./fields.js";
import { notice } from "./notices.js";
import { problemBox } from "./panel.js";

/**
 * Ask, then act. Resolves to the answer of `act`, or null when the reader cancels.
 * @param {{title: string, happens: string[], warning?: string, fields?: object[], button: string, danger?: boolean,
 *   act: (values: object) => Promise<object>, done?: (answer: object) => string}} plan
 */
export function confirmAndAct(plan) {
  const opener = document.activeElement;
  const titleId = freshId("dialog");
  const trouble = h("div", { "aria-live": "assertive" });
  const inputs = (plan.fields ?? []).map(fieldInput);
  const go = h("button", { type: "submit", class: `button primary ${plan.danger ? "danger" : ""}` }, plan.button);
  const cancel = h("button", { type: "button", class: "button" }, "Cancel");
  const form = h("form", { method: "dialog", novalidate: false },
    h("h2", { id: titleId }, plan.title),
    h("p", { class: "dialog-lead" }, "What will happen"),
    h("ol", { class: "happens" }, plan.happens.filter(Boolean).map((one) => h("li", null, one))),
    plan.warning ? h("p", { class: "callout warn" }, plan.warning) : null,
    inputs.map((one) => one.element), trouble,
    h("div", { class: "row end" }, cancel, go));
  const dialog = h("dialog", { "aria-labelledby": titleId, class: "dialog" }, form);
  document.body.append(dialog);

  return new Promise((resolve) => {
    const close = (answer) => {
      dialog.close();
      dialog.remove();
      giveBack(opener);
      resolve(answer);
    };
    cancel.addEventListener("click", () => close(null));
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); if (!go.disabled) close(null); });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      form.setAttribute("aria-busy", "true");
      try {
        const answer = await plan.act(fieldValues(inputs));
        notice(answer?.paused ? "warn" : "good", `${plan.done?.(answer) ?? "Started."}${answer?.paused ? " Its DAG is paused: it waits until somebody unpauses it in Airflow." : ""}`, answer?.url ? { href: answer.url, text: "Open in Airflow" } : undefined);
        close(answer);
      } catch (error) {
        replace(trouble, problemBox(error));
        go.disabled = false;
        form.removeAttribute("aria-busy");
      }
    });
    dialog.showModal();
    (inputs[0]?.control ?? go).focus();
  });
}

/** Give the focus back to what opened a dialog, or to what has taken its place since. */
function giveBack(opener) {
  const key = opener?.dataset?.key;
  const place = opener?.isConnected ? opener : key && document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  place?.focus?.();
}

/** Show something in a dialog that has nothing to decide. */
export function showDialog(title, content, { wide = false } = {}) {
  const opener = document.activeElement;
  const titleId = freshId("dialog");
  const close = h("button", { type: "button", class: "button", on: { click: () => dialog.close() } }, "Close");
  const dialog = h("dialog", { class: `dialog ${wide ? "wide" : ""}`, "aria-labelledby": titleId },
    h("div", { class: "dialog-content" }, h("h2", { id: titleId }, title), content, h("div", { class: "row end" }, close)));
  dialog.addEventListener("close", () => {
    dialog.remove();
    giveBack(opener);
  });
  document.body.append(dialog);
  dialog.showModal();
  close.focus({ preventScroll: true });
  return dialog;
}
