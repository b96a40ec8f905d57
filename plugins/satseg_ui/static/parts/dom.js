// Elements made of data. Text is only ever set as text: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";
const SAFE_PROTOCOLS = new Set(["http:", "https:", "blob:"]);

/** Make an HTML element. `attributes`: `on` holds listeners, `style` properties, `data` data-attributes; null leaves one out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an SVG element, like `h`. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
  else if (name === "style") for (const [key, part] of Object.entries(value)) element.style.setProperty(key, part);
  else if (name === "data") Object.assign(element.dataset, value);
  else if (name === "href" || name === "src") element.setAttribute(name, safeAddress(value));
  else if (name in element && typeof value === "boolean") element[name] = value;
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** Return the address if a browser may follow it; a `javascript:` address from data becomes `#`. */
export function safeAddress(address) {
  try {
    return SAFE_PROTOCOLS.has(new URL(address, document.baseURI).protocol) ? String(address) : "#";
  } catch {
    return "#";
  }
}

/** Replace what is in an element, keeping the focus on the control with the same `data-key`. */
export function replace(element, ...children) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const key = focused?.dataset?.key ?? focused?.id;
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  if (!key) return;
  const again = [...element.querySelectorAll("[data-key], [id]")].find((one) => (one.dataset.key ?? one.id) === key);
  again?.focus({ preventScroll: true });
}

let made = 0;

/** Return an id no other element of the page has. */
export function freshId(prefix) {
  made += 1;
  return `${prefix}-${made}`;
}
