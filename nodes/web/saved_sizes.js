/**
 * Gives nodes the height that a graph was saved with, where it was more than what their widgets need.
 *
 * ComfyUI 0.33 makes nodes with dynamic combos, such as Save Video, as low as their widgets when a graph is opened:
 * then a video is shown 75 pixels high.
 */

const saved = new Map();

/** Remembers the heights of a graph that is about to be opened, if it has nodes of this pack. */
export function rememberHeights({ nodes = [] }) {
  saved.clear();
  if (!nodes.some(({ type }) => type?.startsWith("LTXVTrain"))) return;
  // Ids are numbers in a file, and texts in the graphs of newer versions.
  for (const { id, size } of nodes) saved.set(String(id), size?.[1] ?? 0);
}

/** Restores them, once the graph is open. */
export function restoreHeights(graph) {
  for (const node of graph.nodes) {
    const height = saved.get(String(node.id));
    if (height > node.size[1] && !node.flags?.collapsed) node.setSize([node.size[0], height]);
  }
}
