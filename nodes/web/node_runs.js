/**
 * Which node shows which run. Events name a node by its place in the graph ("5", or "3:2" for node
 * 2 in the subgraph node 3). After a reload the browser remembers; the workflow stays as it is.
 */

import { app } from "../../scripts/app.js";

const PREFIX = "ltxv_train.run:";
const REMEMBERED = 200;

/** The id of every graph that is new; it gets its own when it is loaded again. */
const NEW_GRAPH = "00000000-0000-0000-0000-000000000000";

/** Whether the graph of this id is on the canvas; a prompt from a program has none. */
export function isOpen(graph) {
  return graph == null || graph === NEW_GRAPH || graph === rootGraph().id;
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
  const own = kept(keyOf(node));
  if (own) return own.run;
  const key = keyOf(node, NEW_GRAPH);
  const unnamed = kept(key);
  if (unnamed?.type !== node.type) return null;
  localStorage.removeItem(key);
  rememberRun(node, unnamed.run);
  return unnamed.run;
}

export function rememberRun(node, run) {
  localStorage.setItem(keyOf(node), JSON.stringify({ run, type: node.type, at: Date.now() }));
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  if (keys.length <= REMEMBERED) return;
  const age = (key) => kept(key).at;
  keys.sort((a, b) => age(a) - age(b));
  keys.slice(0, keys.length - REMEMBERED).forEach((key) => localStorage.removeItem(key));
}

export function forgetRun(node) {
  localStorage.removeItem(keyOf(node));
}

function kept(key) {
  return JSON.parse(localStorage.getItem(key));
}

function keyOf(node, graph = node.graph?.id) {
  return `${PREFIX}${graph}:${node.id}`;
}

function rootGraph() {
  return app.rootGraph ?? app.graph;
}
