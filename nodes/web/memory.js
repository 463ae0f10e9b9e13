/** Memory of the device that trains, asked for only while somebody looks. */

import { deviceMemory } from "./rest.js";

const INTERVAL_MS = 5000;

const readers = new Set();
let timer = null;

/**
 * Calls a function with {kind, used, total}, in bytes, every few seconds; returns what ends that.
 */
export function watchMemory(reader) {
  readers.add(reader);
  if (timer === null) {
    ask();
    timer = setInterval(ask, INTERVAL_MS);
  }
  return () => {
    readers.delete(reader);
    if (!readers.size) {
      clearInterval(timer);
      timer = null;
    }
  };
}

async function ask() {
  const memory = await deviceMemory().catch(() => null);
  if (memory) readers.forEach((reader) => reader(memory));
}
