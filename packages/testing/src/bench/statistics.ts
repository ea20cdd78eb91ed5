/** The value below which the part `q` of the values is. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The median of the ratios within one round: a slow moment of the machine hits both. */
export function ratio(own: readonly number[], others: readonly number[]): number {
  return median(own.map((value, round) => value / (others[round] ?? Number.NaN)));
}

/** A number as people read it. */
export function readable(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (value >= 10_000) return `${(value / 1_000).toFixed(0)}k`;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(2);
}
