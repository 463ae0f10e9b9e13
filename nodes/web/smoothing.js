/** The moving average of charts, as `ltxv_train_core/runs/smoothing.py` has it. Nothing here touches the page. */

const WEIGHT = 0.95;

/**
 * Exponential moving average, corrected for its start.
 *
 * @param {(number|null)[]} values
 * @returns {(number|null)[]} where there is no value, the average before it
 */
export function smoothed(values) {
  let [sum, norm] = [0, 0];
  return values.map((value) => {
    if (value !== null) [sum, norm] = [WEIGHT * sum + (1 - WEIGHT) * value, WEIGHT * norm + (1 - WEIGHT)];
    return norm ? sum / norm : null;
  });
}
