import { numberOption } from '@quorate/runtime';
import type { Clockwork } from './core/clockwork.js';

/** Something that goes wrong for a while. */
export interface Fault {
  /** As a report shows it, such as `crash a`. */
  readonly name: string;
  /** When it begins, in milliseconds of virtual time since the start. */
  readonly atMs: number;
  /** How long it lasts, in milliseconds. @defaultValue 0 */
  readonly durationMs?: number;
  /**
   * Makes it go wrong. Returns what ends it, or nothing where there is nothing to end. `show` replaces the name by a
   * more exact one, such as that of the node that it hit.
   */
  begin(show: (name: string) => void): (() => void) | undefined;
}

/** A fault of a run, as a report shows it. */
export interface FaultRecord {
  /** Its number in the run. The same seed gives the same numbers, also where some of them are left out. */
  readonly id: number;
  readonly name: string;
  readonly atMs: number;
  readonly durationMs: number;
  /** Whether it began before everything was healed. */
  readonly began: boolean;
}

interface Entry {
  name: string;
  readonly id: number;
  readonly atMs: number;
  readonly durationMs: number;
  began: boolean;
  end: (() => void) | undefined;
}

/**
 * The faults of one run, by number. Leaving some of them out leaves the others as they are, because each was drawn
 * before the run went on: that is what makes a failing run smaller.
 */
export class FaultBook {
  readonly #entries: Entry[] = [];
  #numbers = 0;
  #healings = 0;

  constructor(
    private readonly clockwork: Clockwork,
    private readonly only: ReadonlySet<number> | undefined,
  ) {}

  /** How many were added, those included that are left out. */
  get count(): number {
    return this.#numbers;
  }

  get records(): FaultRecord[] {
    return this.#entries.map(({ id, name, atMs, durationMs, began }) => ({
      id,
      name,
      atMs,
      durationMs,
      began,
    }));
  }

  add(fault: Fault): void {
    const { clockwork } = this;
    const id = ++this.#numbers;
    const atMs = numberOption('atMs', fault.atMs);
    const durationMs = numberOption('durationMs', fault.durationMs ?? 0);
    if (this.only?.has(id) === false) return;
    const entry: Entry = { id, name: fault.name, atMs, durationMs, began: false, end: undefined };
    this.#entries.push(entry);
    const healings = this.#healings;
    clockwork.schedule(atMs - clockwork.nowMs, undefined, 'fault', fault.name, id, () => {
      if (healings !== this.#healings) return;
      entry.began = true;
      entry.end = fault.begin((name) => {
        entry.name = name;
      });
      if (entry.end === undefined) return;
      clockwork.schedule(durationMs, undefined, 'fault over', fault.name, id, () => {
        this.#end(entry);
      });
    });
  }

  /** Ends what began, and lets nothing begin that was to come. */
  heal(): void {
    this.#healings++;
    for (const entry of this.#entries) this.#end(entry);
  }

  #end(entry: Entry): void {
    const { end } = entry;
    entry.end = undefined;
    end?.();
  }
}
