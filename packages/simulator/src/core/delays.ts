/**
 * How times are spread between the shortest and the longest one:
 *
 * - `uniform`: all alike
 * - `normal`: most in the middle
 * - `exponential`: most near the shortest, and the mean a tenth of the way up, as on a lightly loaded network
 * - `pareto`: half of them within a hundredth of the way, and one in a hundred above the half: a heavy tail
 */
export type DelayShape = 'uniform' | 'normal' | 'exponential' | 'pareto';

/** The names of all shapes. */
export const DELAY_SHAPES: readonly DelayShape[] = ['uniform', 'normal', 'exponential', 'pareto'];

/**
 * A share of the way from the shortest to the longest time, from 0 to 1. Computed by arithmetic and comparisons
 * alone: unlike `Math.log` and its kin they are the same on every platform.
 */
export function delayShare(shape: DelayShape, random: () => number): number {
  switch (shape) {
    case 'uniform':
      return random();
    case 'normal':
      // The sum of uniform numbers: Irwin and Hall's distribution.
      return (random() + random() + random() + random() + random() + random()) / 6;
    case 'exponential':
      return Math.min(1, exponential(random) / 10);
    case 'pareto':
      // A bounded Pareto distribution of index 1 from 1 to 100, by inversion.
      return (1 / (1 - random() * 0.99) - 1) / 99;
  }
}

/**
 * An exponential variate of mean 1, by comparing uniform numbers (J. von Neumann, "Various techniques used in
 * connection with random digits", 1951): a falling run that begins with x has an odd length with chance e^-x.
 */
function exponential(random: () => number): number {
  for (let whole = 0; ; whole++) {
    const first = random();
    let last = first;
    let odd = true;
    for (let next = random(); next < last; next = random()) {
      last = next;
      odd = !odd;
    }
    if (odd) return whole + first;
  }
}
