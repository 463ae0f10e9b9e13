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

/**
 * Views of one thing, of which one is shown. Arrow keys go from one to the next.
 *
 * @param {string} label what they show, for screen readers
 * @param {{title: string, hint: string}[]} views the first one is shown
 * @param {(view: object) => void} show
 */
export function tabs(label, views, show) {
  const made = views.map((view, index) => {
    const tab = button(view.title, view.hint, () => pick(index), "ltxv-tab");
    tab.setAttribute("role", "tab");
    return tab;
  });
  const mark = (index) =>
    made.forEach((tab, each) => {
      tab.setAttribute("aria-selected", each === index);
      tab.tabIndex = each === index ? 0 : -1;
    });
  const pick = (index) => {
    mark(index);
    made[index].focus();
    show(views[index]);
  };
  const keydown = (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    pick((made.indexOf(event.target) + move + made.length) % made.length);
  };
  mark(0);
  return element("div", { class: "ltxv-tabs", role: "tablist", "aria-label": label, on: { keydown } }, ...made);
}

/** Calls a function when ComfyUI's palette changes; returns what ends that. */
export function onPaletteChange(listener) {
  const changes = new MutationObserver(listener);
  for (const root of [document.documentElement, document.body]) {
    changes.observe(root, { attributes: true, attributeFilter: ["class", "style"] });
  }
  return () => changes.disconnect();
}

/** Lets the wheel over a widget zoom the canvas, unless what is below it scrolls. */
export function zoomCanvasByWheel(root, canvas) {
  root.addEventListener(
    "wheel",
    (event) => {
      // A node that is made of elements hands the wheel on by itself.
      if (root.closest("[data-node-id]")) return;
      for (let each = event.target; each !== root; each = each.parentElement) {
        if (each.scrollHeight > each.clientHeight && getComputedStyle(each).overflowY === "auto") return;
      }
      event.preventDefault();
      canvas().processMouseWheel(event);
    },
    { passive: false },
  );
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
