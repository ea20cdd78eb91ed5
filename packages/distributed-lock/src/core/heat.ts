/** How many updates of a hot row go under a row lock before one tries without again. */
const CREDITS = 64;
/** How many rows are remembered; the one that was hot longest ago is forgotten first. */
const MAX_ROWS = 4_096;

/**
 * Remembers which rows are hot: those on which an update without a lock lost too often. Pure.
 *
 * A hot row is updated under its lock. Every so many updates one tries without, while the others go on locking, and only
 * if it wins at once the row has cooled down; so that is found out, and a row that stays hot pays for a lost attempt
 * seldom.
 */
export class RowHeat {
  readonly #credits = new Map<string, number>();

  /** Whether to update it under a lock right away. Counts as one update. */
  takeHot(row: string): boolean {
    const credits = this.#credits.get(row);
    if (credits === undefined) return false;
    this.#credits.set(row, credits === 0 ? CREDITS : credits - 1);
    return credits > 0;
  }

  /** How many lost attempts make it hot: one, where it was before. */
  limit(row: string, pessimisticAfter: number): number {
    return this.#credits.has(row) ? Math.min(1, pessimisticAfter) : pessimisticAfter;
  }

  /** It lost too often. */
  heat(row: string): void {
    this.#credits.delete(row);
    this.#credits.set(row, CREDITS);
    const [oldest] = this.#credits.keys();
    if (this.#credits.size > MAX_ROWS && oldest !== undefined) this.#credits.delete(oldest);
  }

  /** An update without a lock won. */
  cool(row: string): void {
    this.#credits.delete(row);
  }
}
