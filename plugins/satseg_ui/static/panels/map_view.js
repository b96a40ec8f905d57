// A map without map services: tiles of the scene's own pixels, a layer of the prediction over them, both from the REST API.

import { h } from "../parts/dom.js";
import { TileLayer } from "./tile_layer.js";

const CLOSEST = 8; // screen pixels per pixel of the scene
const STEP = 1.5;

/** Return the map of a prediction with its controls. */
export function mapView(prediction) {
  const plan = prediction.map;
  const ground = plan.scene_pixels ? new TileLayer(plan, plan.layers.scene) : null;
  const layers = { classes: new TileLayer(plan, plan.layers.classes), probability: new TileLayer(plan, plan.layers.probability) };
  ground?.element.classList.add("ground");
  const pane = h("div", { class: "map-pane muted" }, ground?.element, layers.classes.element, layers.probability.element);
  const words = h("span", { class: "map-scale", role: "status" });
  const view = h("div", { class: "map-view", tabindex: "0", role: "group", "aria-roledescription": "map", data: { key: "map-view" },
    "aria-label": `Map of ${prediction.scene} by ${prediction.model}, ${prediction.objects} objects. Arrow keys move it, plus and minus zoom, 0 shows the whole scene.` }, pane, words);
  const at = { x: plan.width / 2, y: plan.height / 2, scale: 0, fitted: true };

  const whole = () => Math.min(view.clientWidth / plan.width, view.clientHeight / plan.height) || 0.1;
  const bound = (value, least, most) => Math.min(most, Math.max(least, value));

  function draw() {
    at.scale = at.fitted ? whole() : bound(at.scale, whole() / 2, CLOSEST);
    at.x = bound(at.x, 0, plan.width);
    at.y = bound(at.y, 0, plan.height);
    const window = { left: at.x - view.clientWidth / 2 / at.scale, top: at.y - view.clientHeight / 2 / at.scale, width: view.clientWidth, height: view.clientHeight, scale: at.scale };
    ground?.draw(window);
    for (const layer of Object.values(layers)) if (!layer.element.hidden) layer.draw(window);
    words.textContent = `${Math.round(100 * at.scale)}%`;
  }

  function fit() {
    Object.assign(at, { x: plan.width / 2, y: plan.height / 2, fitted: true });
    draw();
  }

  /** Zoom about a point of the view, its middle when none is given. */
  function zoom(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
    const [dx, dy] = [x - view.clientWidth / 2, y - view.clientHeight / 2];
    const scale = bound(at.scale * factor, whole() / 2, CLOSEST);
    at.x += dx / at.scale - dx / scale;
    at.y += dy / at.scale - dy / scale;
    Object.assign(at, { scale, fitted: false });
    draw();
  }

  function move(dx, dy) {
    at.x += dx / at.scale;
    at.y += dy / at.scale;
    at.fitted = false;
    draw();
  }

  listen(view, { zoom, move, fit });
  new ResizeObserver(draw).observe(view);
  return h("div", { class: "map" }, controls(plan, { layers, pane, draw, zoom, fit }), view,
    plan.scene_pixels ? null : h("p", { class: "callout warn" }, "The scene's pixels are not in the workspace any more; only the map is shown."), legend(plan));
}

function controls(plan, { layers, pane, draw, zoom, fit }) {
  const group = `layer-${plan.layers.classes}`;
  const pick = (name) => {
    for (const [key, layer] of Object.entries(layers)) layer.element.hidden = key !== name;
    pane.classList.toggle("muted", name !== "none"); // the prediction stands out from paler ground
    draw();
  };
  const choices = [["classes", "Classes"], ["probability", "Probability"], ["none", "Scene alone"]].map(([name, title], index) =>
    h("label", null, h("input", { type: "radio", name: group, checked: index === 0, data: { key: `layer-${name}` }, on: { change: () => pick(name) } }), title));
  layers.probability.element.hidden = true;
  const opacity = h("input", { type: "range", min: 0, max: 100, value: 65, data: { key: "opacity" }, on: { input: () => fade() } });
  const fade = () => { for (const layer of Object.values(layers)) layer.element.style.opacity = String(opacity.value / 100); };
  fade();
  const button = (text, label, click) => h("button", { type: "button", class: "button icon", "aria-label": label, title: label, data: { key: label }, on: { click } }, text);
  return h("div", { class: "map-controls" },
    h("fieldset", { class: "choices" }, h("legend", { class: "unseen" }, "Layer"), choices),
    h("label", { class: "slider" }, "Opacity", opacity),
    h("span", { class: "row" }, button("−", "Zoom out", () => zoom(1 / STEP)), button("+", "Zoom in", () => zoom(STEP)), button("⤢", "Whole scene", fit)));
}

function listen(view, { zoom, move, fit }) {
  const keys = { ArrowLeft: () => move(-80, 0), ArrowRight: () => move(80, 0), ArrowUp: () => move(0, -80), ArrowDown: () => move(0, 80),
    "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), 0: fit };
  view.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !view.contains(document.activeElement)) return; // scrolling past must not zoom
    event.preventDefault();
    const box = view.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  view.addEventListener("dblclick", (event) => {
    const box = view.getBoundingClientRect();
    zoom(2, event.clientX - box.left, event.clientY - box.top);
  });
  drag(view, move, zoom);
}

/** One pointer moves the map, two pinch it. */
function drag(view, move, zoom) {
  const held = new Map();
  view.addEventListener("pointerdown", (event) => {
    held.set(event.pointerId, event);
    view.setPointerCapture(event.pointerId);
    view.classList.add("held");
  });
  view.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const other = [...held.values()].find((one) => one.pointerId !== event.pointerId);
    if (other) {
      const far = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      const box = view.getBoundingClientRect();
      zoom(far(event) / far(before), (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top);
    } else move(before.clientX - event.clientX, before.clientY - event.clientY);
    held.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    view.addEventListener(end, (event) => {
      held.delete(event.pointerId);
      if (!held.size) view.classList.remove("held");
    });
  }
}

function legend(plan) {
  return h("ul", { class: "legend", "aria-label": "Classes" }, plan.classes.map((one) =>
    h("li", null, h("span", { class: "swatch", style: { "background-color": one.colour } }), one.name)));
}
