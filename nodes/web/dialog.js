/** Windows over the page. Escape closes them, and ComfyUI's own keys rest meanwhile. */

import { element } from "./dom.js";

/**
 * @param {string} label for screen readers
 * @param {Object} properties of the element, as `element` takes them
 * @param {...Node} children
 * @returns {HTMLDialogElement} open; gone when it is closed
 */
export function openDialog(label, properties, ...children) {
  const { class: name = "", ...others } = properties;
  const dialog = element("dialog", { class: `ltxv ltxv-dialog ${name}`, "aria-label": label, ...others }, ...children);
  for (const event of ["keydown", "keyup", "keypress", "wheel", "paste", "copy"]) {
    dialog.addEventListener(event, (each) => each.stopPropagation());
  }
  dialog.addEventListener("pointerdown", (event) => {
    if (event.target === dialog && isBeside(event, dialog.getBoundingClientRect())) dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

function isBeside({ clientX: x, clientY: y }, { left, right, top, bottom }) {
  return x < left || x > right || y < top || y > bottom;
}
