// Makes elements. Text only ever becomes text: nothing in the console parses markup, so what a campaign or a user is called can
// do no harm here.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `attributes` may be left out; `on` holds listeners, `class`, `data-...` and the rest are attributes, `true` is an
 * attribute without a value, `null`, `undefined` and `false` leave it away. Children are nodes, texts, numbers, or lists of them.
 */
export function h(name, attributes, ...children) {
  return make(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes, ...children) {
  return make(document.createElementNS(SVG, name), attributes, children);
}

/** Replaces what stands in an element. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/** A place in the console, from parts that may be anything a user or a campaign can be called. */
export function to(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export function link(text, ...parts) {
  return h("a", { href: to(...parts) }, text);
}

function make(element, attributes, children) {
  if (!isAttributes(attributes)) {
    children = [attributes, ...children];
    attributes = {};
  }
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...nodes(children));
  return element;
}

function isAttributes(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Node);
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== "");
}
