/** Where a node fits between others. Nothing here touches the page. */

/**
 * @typedef {[number, number, number, number]} Box x, y, width, height; the title is part of it
 */

/**
 * The first free place at a point or below it.
 *
 * @param {Box[]} boxes of what is there
 * @param {Box} wanted
 * @param {number} gap that stays free around it
 * @returns {[number, number]} x and y
 */
export function freePlace(boxes, [x, y, width, height], gap) {
  let top = y;
  const inTheWay = () =>
    boxes.find((box) => meet([x - gap, top - gap, width + 2 * gap, height + 2 * gap], box));
  for (let box = inTheWay(); box; box = inTheWay()) top = box[1] + box[3] + gap;
  return [x, top];
}

/**
 * How far boxes below one that has grown have to go down, so that none is covered that was not before.
 *
 * @param {Box[]} boxes others than the one that grows
 * @param {Box} before
 * @param {Box} after
 * @param {number} gap
 * @returns {number[]} for each box
 */
export function movesDown(boxes, before, after, gap) {
  const moves = boxes.map(() => 0);
  const below = boxes.map((box, index) => index).filter((index) => boxes[index][1] >= before[1] + before[3] - 1);
  below.sort((a, b) => boxes[a][1] - boxes[b][1]);
  const growing = [[before, after]];
  for (const index of below) {
    const box = boxes[index];
    const pushes = growing
      .filter(([old, now]) => !meet(old, box) && meet([now[0], now[1], now[2], now[3] + gap], box))
      .map(([, now]) => now[1] + now[3] + gap - box[1]);
    moves[index] = Math.max(0, ...pushes);
    if (moves[index]) growing.push([box, [box[0], box[1] + moves[index], box[2], box[3]]]);
  }
  return moves;
}

function meet([x, y, width, height], [p, q, w, h]) {
  return x < p + w && p < x + width && y < q + h && q < y + height;
}
