/** Makes a node high enough for its contact sheet to be as wide as the node. */

const HIGHEST_PX = 900;
const TRIES = 20;
const TRY_EVERY_MS = 250;

/** Lets a new node grow when it shows a picture of clips. */
export function fitContactSheet(node) {
  let before = 0;
  const after = node.onExecuted;
  node.onExecuted = function (output) {
    after?.call(this, output);
    if (output?.images?.length) grow(TRIES);
  };

  /** Pictures come some time after the message that names them. */
  function grow(tries) {
    const picture = node.imgs?.[0];
    if (!picture?.naturalWidth) {
      if (tries) setTimeout(() => grow(tries - 1), TRY_EVERY_MS);
      return;
    }
    const height = Math.min(HIGHEST_PX, (node.size[0] * picture.naturalHeight) / picture.naturalWidth);
    if (height <= before) return;
    node.setSize([node.size[0], node.size[1] + height - before]);
    before = height;
    node.setDirtyCanvas(true, true);
  }
}
