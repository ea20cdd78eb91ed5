import type { FileSystem } from '../../src/index.js';
import { createSimDisk, type SimDisk, type StandaloneDisk } from '@quorate/simulator';

/** A disk of the simulator that ends its process at a chosen call, or fails the syncs from a chosen call on. */
export class CrashDisk {
  readonly #one: StandaloneDisk;
  /** Calls of this life so far. */
  steps = 0;
  /** The call at which the process ends. */
  crashAt = Infinity;
  /** The call from which on syncs fail. */
  failSyncAt = Infinity;
  /** Resolves when the process ended by {@link CrashDisk.crashAt}: its calls never settle. */
  ended!: Promise<void>;
  #end: () => void = () => undefined;

  constructor(seed: number) {
    this.#one = createSimDisk({ seed });
    this.#reset();
    this.disk.intercept(({ what }) => {
      if (this.steps >= this.crashAt) {
        this.#one.kill();
        this.#end();
        return undefined;
      }
      this.steps++;
      return what === 'sync' && this.steps >= this.failSyncAt ? 'EIO' : undefined;
    });
  }

  get disk(): SimDisk {
    return this.#one.disk;
  }

  get crashed(): boolean {
    return this.steps >= this.crashAt;
  }

  /** Flips a bit of one byte of a file. Doing it again undoes it. */
  damage(name: string, at: number): void {
    this.disk.flipBit(name, at * 8 + 4);
  }

  /** What the process of now sees. */
  mount(): FileSystem {
    return this.#one.mount();
  }

  /** The process ended; the machine goes on. */
  killProcess(): void {
    this.#one.kill();
    this.#reset();
  }

  /** The machine lost its power. */
  losePower(): void {
    this.#one.losePower();
    this.#reset();
  }

  #reset(): void {
    this.steps = 0;
    this.crashAt = Infinity;
    this.failSyncAt = Infinity;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }
}
