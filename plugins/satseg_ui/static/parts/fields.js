// Form fields made of a description: {name, label, type, default, description, minimum, maximum, options, required}.

import { freshId, h } from "./dom.js";

/** Make the label, the control and the hint of one field; `read()` gives its value, undefined when it stayed the default. */
export function fieldInput(field) {
  const id = freshId("field");
  const hintId = `${id}-hint`;
  const control = controlOf(field, id, field.description ? hintId : null);
  const label = h("label", { for: id }, field.label ?? field.name.replaceAll("_", " "));
  const hint = field.description ? h("p", { id: hintId, class: "hint" }, field.description) : null;
  const boolean = control.type === "checkbox";
  const element = h("div", { class: `field ${boolean ? "check" : ""}` }, boolean ? [control, label] : [label, control], hint);
  return { element, control, name: field.name, read: () => readControl(control, field) };
}

/** Return the values of inputs that differ from their defaults. */
export function fieldValues(inputs) {
  return Object.fromEntries(inputs.map((one) => [one.name, one.read()]).filter(([, value]) => value !== undefined));
}

function controlOf(field, id, hintId) {
  const shared = { id, name: field.name, required: field.required === true, "aria-describedby": hintId, data: { key: id } };
  const value = field.default ?? "";
  if (field.options?.length) {
    return h("select", shared, field.options.map((one) => h("option", { value: one, selected: one === field.default }, String(one))));
  }
  const type = baseType(field.type);
  if (type === "boolean") return h("input", { ...shared, type: "checkbox", checked: field.default === true });
  if (type === "integer" || type === "number") {
    const step = type === "integer" ? 1 : "any";
    return h("input", { ...shared, type: "number", step, min: field.minimum, max: field.maximum, value, placeholder: field.default ?? "" });
  }
  if (field.long) return h("textarea", { ...shared, rows: 2, maxlength: 2000 }, value);
  return h("input", { ...shared, type: field.format === "date" ? "date" : "text", value, autocomplete: "off" });
}

/** Airflow's forms say `["null", "integer"]` where a value may be left out. */
function baseType(type) {
  return Array.isArray(type) ? type.find((one) => one !== "null") : type;
}

function readControl(control, field) {
  if (control.type === "checkbox") return control.checked === (field.default === true) ? undefined : control.checked;
  const text = control.value.trim();
  if (text === String(field.default ?? "")) return undefined;
  if (text === "") return null;
  return control.type === "number" ? Number(text) : text;
}
