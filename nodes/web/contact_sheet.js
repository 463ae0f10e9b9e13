/** Makes a node high enough for its contact sheet to be seen. */

const HIGHEST_PX = 900;
const TEXT_PX = 150;
const TRIES = 20;
const TRY_EVERY_MS = 250;

/** Lets a new node grow when it shows a picture of clips. */
export function fitContactSheet(node) {
  const before = node.onExecuted;
  node.onExecuted = function (output) {
    before?.call(this, output);
    if (output?.images?.length) grow(node, TRIES);
  };
}

/** Pictures come some time after the message that names them. */
function grow(node, tries) {
  const picture = node.imgs?.[0];
  if (!picture?.naturalWidth) {
    if (tries) setTimeout(() => grow(node, tries - 1), TRY_EVERY_MS);
    return;
  }
  const widgets = Object.fromEntries(node.widgets.map((widget) => [widget.name, widget]));
  const [text, pictures] = [widgets["$$node-text-preview"], widgets["$$canvas-image-preview"]];
  // The text would take half of the height that the pictures are given.
  if (text) text.options.getMinHeight = text.options.getMaxHeight = () => TEXT_PX;
  const [width, height] = node.size;
  const sheet = Math.min(HIGHEST_PX, (width * picture.naturalHeight) / picture.naturalWidth);
  const needed = node.computeSize()[1] + Math.max(0, sheet - (pictures?.computeLayoutSize?.(node).minHeight ?? 0));
  if (height < needed) node.setSize([width, needed]);
  node.setDirtyCanvas(true, true);
}
