/** Rotate-half of one head x [d] at a position; inverse frequency and angle are rounded to f32, as upstream's are. */
export function rope(x: ArrayLike<number>, position: number, theta: number): Float64Array {
  const d = x.length;
  const half = d / 2;
  const y = new Float64Array(d);
  for (let j = 0; j < half; j++) {
    const inverse = Math.fround(1 / Math.fround(theta ** ((2 * j) / d)));
    const angle = Math.fround(position * inverse);
    y[j] = x[j]! * Math.cos(angle) - x[j + half]! * Math.sin(angle);
    y[j + half] = x[j + half]! * Math.cos(angle) + x[j]! * Math.sin(angle);
  }
  return y;
}
