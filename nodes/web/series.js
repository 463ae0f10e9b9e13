/** Numbers over the steps of a run, for drawing and reading. Nothing here touches the page. */

/** Of the losses, as many lie above the chart's upper edge: single peaks don't flatten the rest. */
const CUT_OFF_SHARE = 0.02;

/**
 * The range that a chart shows.
 *
 * @param {(number|null)[]} values
 * @param {boolean} isLog leaves out what has no logarithm
 * @returns {[number, number]}
 */
export function valueRange(values, isLog = false) {
  const shown = values.filter((value) => value !== null && (!isLog || value > 0));
  if (!shown.length) return isLog ? [0.1, 1] : [0, 1];
  shown.sort((a, b) => a - b);
  const low = shown[0];
  const high = shown[Math.floor((1 - CUT_OFF_SHARE) * (shown.length - 1))];
  if (high > low) return [low, high];
  return isLog ? [low / 2, low * 2] : [low - 0.5 * Math.abs(low || 1), low + 0.5 * Math.abs(low || 1)];
}

/**
 * Round numbers inside a range.
 *
 * @returns {number[]}
 */
export function ticks(low, high, count, isLog = false) {
  if (isLog) return logTicks(low, high, count);
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k += 1) found.push(k * step);
  return found;
}

function logTicks(low, high, count) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    found.push(...[1, 2, 5].map((factor) => factor * 10 ** power));
  }
  const inside = found.filter((value) => value >= low && value <= high);
  if (inside.length < 2) return [low, high];
  const each = Math.ceil(inside.length / (count + 1));
  return inside.filter((_, index) => index % each === 0);
}

/** Three digits that matter: 0.0123, 1.23, 1.2e-6. */
export function shortNumber(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(1).replace("e+", "e").replace(".0e", "e");
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(size))));
  return String(Number(value.toFixed(digits)));
}

/** The index of the last value that is at most `wanted`, in ascending values; -1 for none. */
export function lastAtMost(values, wanted) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * Options whose values are not the same in all runs.
 *
 * @param {Object<string, *>[]} configurations values by option name, one object for each run
 * @returns {[string, *[]][]} option name and its value in each run
 */
export function differences(configurations) {
  const names = [...new Set(configurations.flatMap((options) => Object.keys(options)))];
  return names
    .map((name) => [name, configurations.map((options) => options[name])])
    .filter(([, values]) => new Set(values.map((value) => JSON.stringify(value))).size > 1);
}

/** From the lowest to the highest value, with room for marks. */
export function wholeRange(values) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const room = 0.08 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - room, high + room];
}
