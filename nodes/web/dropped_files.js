/** Says why a sample that is dropped on the canvas brings no graph: ComfyUI makes a loading node of it, without a word. */

import { tell } from "./toast.js";

/** Metadata stands before the frames. */
const HEAD_BYTES = 65_536;
/** As the training core writes it. */
const REASON = /"(No graph in this file: [^"]+)"/;

export function explainDrops() {
  // Before ComfyUI's own listener, which stops the event.
  window.addEventListener("drop", (event) => [...(event.dataTransfer?.files ?? [])].forEach(explain), true);
}

async function explain(file) {
  const reason = REASON.exec(await file.slice(0, HEAD_BYTES).text())?.[1];
  if (reason) tell("info", file.name, `${reason}. ComfyUI opens it as a picture or video.`);
}
