/** How durations and bytes are written, everywhere alike. `ltxv_train_core/units.py` writes the same. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const WHOLE_FROM = 100;

/** Hours, minutes and seconds: 0:00:42, 3:00:00. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(0, Math.round(seconds));
  const two = (number) => String(number).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** Bytes with the largest unit that fits: 512 B, 5.9 GiB, 24 GiB. */
export function bytes(count) {
  let [value, power] = [count, 0];
  while (value >= 1024 && power < UNITS.length - 1) [value, power] = [value / 1024, power + 1];
  const digits = power && value < WHOLE_FROM ? 1 : 0;
  return `${value.toFixed(digits).replace(/\.0$/, "")} ${UNITS[power]}`;
}

/** A number of things with the largest unit that fits: 942 k, 101 M, 1.3 G. */
export function count(number) {
  let [value, power] = [number, 0];
  while (value >= 1000 && power < 3) [value, power] = [value / 1000, power + 1];
  return `${value.toFixed(power && value < 10 ? 1 : 0).replace(/\.0$/, "")} ${["", "k", "M", "G"][power]}`.trim();
}

/** How much of a phase is done: "3 of 12 clips", "512 MiB of 3 GiB". */
export function amount({ done, total, unit }) {
  if (unit === "byte") return `${bytes(done)} of ${bytes(total)}`;
  return `${done} of ${total} ${unit}${total === 1 ? "" : "s"}`;
}
