/**
 * Which node shows which run. Events name a node by its place in the graph ("5", or "3:2" for node
 * 2 in the subgraph node 3). After a reload the browser remembers; the workflow stays as it is.
 */

import { app } from "../../scripts/app.js";

const PREFIX = "ltxv_train.run:";
const REMEMBERED = 200;

/** Whether the graph of this id is on the canvas; a prompt from a program has none. */
export function isOpen(graph) {
  return graph == null || graph === rootGraph().id;
}

/** The node at a place in the graph, or undefined. */
export function nodeAt(place) {
  let graph = rootGraph();
  let node;
  for (const id of String(place).split(":")) {
    node = graph?.getNodeById(id);
    graph = node?.subgraph;
  }
  return node;
}

/** The run that a node showed last, or null. */
export function rememberedRun(node) {
  const kept = localStorage.getItem(keyOf(node));
  return kept && JSON.parse(kept).run;
}

export function rememberRun(node, run) {
  localStorage.setItem(keyOf(node), JSON.stringify({ run, at: Date.now() }));
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  if (keys.length <= REMEMBERED) return;
  const age = (key) => JSON.parse(localStorage.getItem(key)).at;
  keys.sort((a, b) => age(a) - age(b));
  keys.slice(0, keys.length - REMEMBERED).forEach((key) => localStorage.removeItem(key));
}

export function forgetRun(node) {
  localStorage.removeItem(keyOf(node));
}

function keyOf(node) {
  return `${PREFIX}${node.graph?.id}:${node.id}`;
}

function rootGraph() {
  return app.rootGraph ?? app.graph;
}
