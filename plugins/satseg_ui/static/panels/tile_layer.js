// Tiles of one layer of a scene, placed for a view. z = max_zoom is one pixel per pixel; each step down halves.

import { h } from "../parts/dom.js";

/** A layer of a map: keeps the tiles that are seen, and those of the last zoom until the new ones are there. */
export class TileLayer {
  constructor(plan, template) {
    this.plan = plan;
    this.template = template;
    this.element = h("div", { class: "tiles" });
    this.tiles = new Map();
  }

  /** Show a window: left and top in scene pixels, width and height in screen pixels, scale in screen per scene pixel. */
  draw(window) {
    const { plan } = this;
    const wanted = Math.ceil(Math.log2(window.scale * devicePixelRatio) - 0.25) + plan.max_zoom;
    const zoom = Math.min(plan.max_zoom, Math.max(0, wanted));
    const side = plan.tile_px * 2 ** (plan.max_zoom - zoom); // of a tile, in scene pixels
    const [columns, rows] = [plan.width, plan.height].map((length) => Math.ceil(length / side) - 1);
    const first = [window.left, window.top].map((start) => Math.max(0, Math.floor(start / side)));
    const last = [Math.min(columns, Math.floor((window.left + window.width / window.scale) / side)), Math.min(rows, Math.floor((window.top + window.height / window.scale) / side))];
    const seen = new Set();
    for (let y = first[1]; y <= last[1]; y += 1) for (let x = first[0]; x <= last[0]; x += 1) seen.add(this.tile(zoom, x, y));
    this.forget(seen);
    this.element.classList.toggle("near", window.scale > 1.5);
    for (const tile of this.tiles.values()) place(tile, plan, window);
  }

  tile(zoom, x, y) {
    const key = `${zoom}/${x}/${y}`;
    if (!this.tiles.has(key)) {
      const image = h("img", { alt: "", draggable: "false", decoding: "async" });
      const tile = { image, zoom, x, y, ready: false };
      const ready = () => { tile.ready = true; this.forget(); };
      image.addEventListener("load", ready);
      image.addEventListener("error", () => { image.hidden = true; ready(); });
      image.src = this.template.replace("{z}", zoom).replace("{x}", x).replace("{y}", y);
      image.style.zIndex = String(zoom);
      this.tiles.set(key, tile);
      this.element.append(image);
    }
    return key;
  }

  /** Drop tiles that are not wanted any more; those of another zoom go when all wanted ones are there. */
  forget(seen = this.seen) {
    this.seen = seen;
    const complete = [...seen].every((key) => this.tiles.get(key).ready);
    const zoom = this.tiles.get([...seen][0])?.zoom;
    for (const [key, tile] of this.tiles) {
      if (seen.has(key) || (!complete && tile.zoom !== zoom && tile.ready)) continue;
      tile.image.remove();
      this.tiles.delete(key);
    }
  }
}

function place({ image, zoom, x, y }, plan, window) {
  const side = plan.tile_px * 2 ** (plan.max_zoom - zoom) * window.scale;
  const [left, top] = [x * side - window.left * window.scale, y * side - window.top * window.scale];
  // whole pixels, so that no seam shows between neighbours
  image.style.left = `${Math.round(left)}px`;
  image.style.top = `${Math.round(top)}px`;
  image.style.width = `${Math.round(left + side) - Math.round(left)}px`;
  image.style.height = `${Math.round(top + side) - Math.round(top)}px`;
}
