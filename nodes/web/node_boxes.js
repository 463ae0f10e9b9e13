/** The room that nodes take on the canvas, titles included. */

/** @returns {[number, number, number, number]} x, y, width, height */
export function boxOf(node) {
  const title = LiteGraph.NODE_TITLE_HEIGHT;
  const height = node.flags?.collapsed ? 0 : node.size[1];
  return [node.pos[0], node.pos[1] - title, node.size[0], height + title];
}

export const boxesOf = (nodes) => nodes.map(boxOf);
