/** Makes elements. Text is always text: names of runs and prompts are written by people. */

/**
 * @param {string} tag
 * @param {Object<string, *>} [properties] properties of the element; `class` and `on` (handlers by
 *   event name) are taken as such
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name === "on") {
      for (const [event, handler] of Object.entries(value)) made.addEventListener(event, handler);
    } else if (name.startsWith("aria-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child != null && child !== false));
  return made;
}

/** A button that says what it does. */
export function button(label, title, onclick, extra = "") {
  return element("button", { type: "button", class: `ltxv-button ${extra}`, title, onclick }, label);
}

/** A button that stays pressed. */
export function toggle(label, title, isOn, onchange) {
  const made = button(label, title, () => {
    const pressed = made.getAttribute("aria-pressed") !== "true";
    made.setAttribute("aria-pressed", pressed);
    onchange(pressed);
  });
  made.setAttribute("aria-pressed", isOn);
  return made;
}

/** Calls a function once in the next frame, however often it is asked. */
export function oncePerFrame(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  };
}

/** Loads the style sheet beside this module, once. */
export function loadStyle() {
  const href = new URL("./style.css", import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return;
  document.head.append(element("link", { rel: "stylesheet", href }));
}
