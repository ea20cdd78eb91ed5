import type { FileSystem } from '@quorate/durable-log';
import { numberOption, type Runtime, seededRandom, type Timer } from '@quorate/runtime';
import type { Link } from '@quorate/transport';
import type { Clockwork, Owner } from './core/clockwork.js';
import { type DiskOptions, SimDisk } from './disk.js';
import { SimulationStateError } from './errors.js';
import type { Network, SimLink } from './network.js';

/** What a process has while it lives: all of it is void after a crash, but for the files. */
export interface SimProcess {
  readonly id: string;
  readonly runtime: Runtime;
  /** Hand it to `createTransport`. */
  readonly link: Link;
  readonly fileSystem: FileSystem;
  /** How often the node was started before. */
  readonly restarts: number;
}

/** Bounds of the clocks of nodes. */
export interface ClockOptions {
  /** How far a wall clock may be off at the start, either way, in milliseconds. @defaultValue 0 */
  readonly maxSkewMs?: number;
  /** How much faster or slower a clock may run, in millionths. @defaultValue 0 */
  readonly maxDriftPpm?: number;
}

/** A machine of the simulation: crash it, start it again, pause it, set its clock. */
export class SimNode {
  readonly disk: SimDisk;
  readonly #clockwork: Clockwork;
  readonly #network: Network;
  readonly #boot: (process: SimProcess) => void | Promise<void>;
  readonly #failed: (error: unknown) => void;
  readonly #rate: number;
  #wallOffset: number;
  #owner: Owner = { alive: false, paused: false, held: [] };
  #link: SimLink | undefined;
  #starts = 0;

  /** @internal */
  constructor(
    readonly id: string,
    parts: {
      readonly clockwork: Clockwork;
      readonly network: Network;
      readonly disk: DiskOptions;
      readonly clock: ClockOptions;
      readonly boot: (process: SimProcess) => void | Promise<void>;
      readonly failed: (error: unknown) => void;
    },
  ) {
    this.#clockwork = parts.clockwork;
    this.#network = parts.network;
    this.#boot = parts.boot;
    this.#failed = parts.failed;
    this.disk = new SimDisk(parts.clockwork, id, parts.disk);
    const skew = numberOption('maxSkewMs', parts.clock.maxSkewMs ?? 0);
    const drift = numberOption('maxDriftPpm', parts.clock.maxDriftPpm ?? 0, { max: 500_000 });
    const symmetric = (): number => this.#clockwork.random() * 2 - 1;
    this.#rate = 1 + (symmetric() * drift) / 1e6;
    this.#wallOffset = Date.UTC(2020, 0, 1) + symmetric() * skew;
  }

  /** Whether its process runs, paused or not. */
  get up(): boolean {
    return this.#owner.alive;
  }

  get paused(): boolean {
    return this.#owner.paused;
  }

  /** Starts the process. Throws `SIMULATION_STATE` if it runs. */
  start(): void {
    if (this.#owner.alive)
      throw new SimulationStateError(`node ${this.id} is up; crash it before it starts again`);
    const owner: Owner = { alive: true, paused: false, held: [] };
    this.#owner = owner;
    const link = this.#network.link(this.id, owner);
    this.#link = link;
    this.#clockwork.trace.record(this.#clockwork.nowMs, 'start', this.id, this.#starts);
    const process: SimProcess = {
      id: this.id,
      runtime: this.#runtime(owner),
      link,
      fileSystem: this.disk.mount(owner),
      restarts: this.#starts++,
    };
    const failed = (error: unknown): void => {
      if (owner.alive) this.#failed(error);
    };
    try {
      const booted = this.#boot(process);
      if (booted !== undefined) booted.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /**
   * Loses the power: timers, links and calls to the disk of the process never fire again, and the disk keeps what the
   * fault model says. Does nothing to a node that is down.
   */
  crash(): void {
    if (!this.#owner.alive) return;
    this.#clockwork.trace.record(this.#clockwork.nowMs, 'crash', this.id, 0);
    this.#owner.alive = false;
    this.#owner.held = [];
    if (this.#link !== undefined) this.#network.crashed(this.#link);
    this.disk.losePower();
  }

  /** Stops the process as SIGSTOP does: whatever falls due waits for {@link SimNode.resume}; clocks go on. */
  pause(): void {
    this.#owner.paused = this.#owner.alive;
  }

  /** Ends {@link SimNode.pause}: what fell due happens now, in its order. */
  resume(): void {
    if (!this.#owner.paused) return;
    this.#owner.paused = false;
    this.#clockwork.release(this.#owner);
  }

  /** Moves the wall clock, forth or back, and leaves the monotonic one alone. */
  jumpClock(byMs: number): void {
    this.#wallOffset += numberOption('byMs', byMs, { min: Number.NEGATIVE_INFINITY });
  }

  #runtime(owner: Owner): Runtime {
    const clockwork = this.#clockwork;
    const startedMs = clockwork.nowMs;
    const random = seededRandom(Math.floor(clockwork.random() * 2 ** 32));
    // Rounding must not show a timer a clock before its due time.
    let floor = 0;
    const monotonic = (): number => Math.max(floor, (clockwork.nowMs - startedMs) * this.#rate);
    return {
      now: () => Math.floor(this.#wallOffset + clockwork.nowMs * this.#rate),
      monotonic,
      random,
      randomBytes: (size) => Uint8Array.from({ length: size }, () => Math.floor(random() * 256)),
      setTimer: (delayMs, run): Timer => {
        const delay = Math.max(0, numberOption('delayMs', delayMs, { min: Number.NEGATIVE_INFINITY }));
        if (!owner.alive) return { cancel: () => undefined };
        const due = monotonic() + delay;
        const event = clockwork.schedule(delay / this.#rate, owner, 'timer', this.id, delay, () => {
          floor = Math.max(floor, due);
          run();
        });
        return {
          cancel: () => {
            event.cancelled = true;
          },
        };
      },
    };
  }
}
