// In which box of a picture a value is.

/**
 * Its own, or the closed one that it is hidden in.
 * @type {(drawing: Drawing, i: number) => number}
 */
export function boxOf({ inside }, i) {
  let [low, high] = [0, inside.length]; // the runs are in order
  while (low < high) {
    const middle = (low + high) >> 1;
    if (inside[middle][1] < i) low = middle + 1;
    else high = middle;
  }
  const run = inside[low];
  return run && run[0] <= i ? run[2] : i;
}
