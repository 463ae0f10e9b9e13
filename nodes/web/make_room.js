/** Nodes below one that grows by itself go down: a contact sheet or a chart covers none of them. */

import { app } from "../../scripts/app.js";
import { boxOf, boxesOf } from "./node_boxes.js";
import { movesDown } from "./placement.js";

const GAP_PX = 20;

/** Makes room below a node from now on, whoever makes it larger except the mouse. */
export function makeRoom(node) {
  let height = node.size[1];
  const before = node.onResize;
  node.onResize = function (...values) {
    before?.apply(this, values);
    const grown = node.size[1] - height;
    height = node.size[1];
    if (grown > 0 && node.graph && !app.configuringGraph && !isDragged(node)) push(node, grown);
  };
}

function push(node, grown) {
  const [x, y, width, height] = boxOf(node);
  const others = node.graph.nodes.filter((each) => each !== node);
  const moves = movesDown(boxesOf(others), [x, y, width, height - grown], [x, y, width, height], GAP_PX);
  moves.forEach((down, index) => {
    if (down) others[index].pos = [others[index].pos[0], others[index].pos[1] + down];
  });
}

function isDragged(node) {
  return app.canvas?.resizing_node === node || Boolean(app.canvas?.pointer?.isDown);
}
