import type { FileSystem } from '@quorate/durable-log';
import { numberOption, type Runtime, type Timer } from '@quorate/runtime';
import type { Link } from '@quorate/transport';
import type { Clockwork, Owner, SimEvent } from './core/clockwork.js';
import { type DiskOptions, SimDisk } from './disk.js';
import { SimulationStateError } from './errors.js';
import type { SimLink } from './link.js';
import type { Network } from './network.js';

/** What a process has while it lives: all of it is void after a crash, but for the files. */
export interface SimProcess {
  readonly id: string;
  readonly runtime: Runtime;
  /** Hand it to `createTransport`. */
  readonly link: Link;
  readonly fileSystem: FileSystem;
  /** How often the node was started before. */
  readonly restarts: number;
  /** Ends this process, as {@link SimNode.kill} does: for code that gives up, such as after a disk failed. */
  exit(): void;
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
  /** How fast its clocks run, and since when. Before that they had gone on by `#elapsed`. */
  #rate: number;
  #since = 0;
  #elapsed = 0;
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
    const { clockwork } = parts;
    this.disk = new SimDisk(
      {
        random: clockwork.stream(`disk ${id}`),
        after: (delayMs, owner, what, work) => void clockwork.schedule(delayMs, owner, what, id, 0, work),
        wrote: (bytes) => {
          clockwork.trace.foldBytes(bytes);
        },
      },
      id,
      parts.disk,
    );
    const skew = numberOption('maxSkewMs', parts.clock.maxSkewMs ?? 0);
    const drift = numberOption('maxDriftPpm', parts.clock.maxDriftPpm ?? 0, { max: 500_000 });
    const random = parts.clockwork.stream(`clock ${id}`);
    const symmetric = (): number => random() * 2 - 1;
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
      exit: () => {
        if (this.#owner === owner) this.kill();
      },
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
    if (this.#end('crash')) this.disk.losePower();
  }

  /**
   * Ends the process alone, as SIGKILL does: all that {@link SimNode.crash} does, but the machine goes on and its disk
   * forgets nothing.
   */
  kill(): void {
    if (this.#end('kill')) this.disk.loseProcess();
  }

  #end(how: string): boolean {
    if (!this.#owner.alive) return false;
    this.#clockwork.trace.record(this.#clockwork.nowMs, how, this.id, 0);
    this.#owner.alive = false;
    this.#owner.held = [];
    if (this.#link !== undefined) this.#network.crashed(this.#link);
    return true;
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

  /**
   * From now on its clocks run `ppm` millionths too fast, or too slow if it is negative; 0 makes them right again.
   * Timers that were set before are not early by the clock; they may be late.
   */
  setDrift(ppm: number): void {
    this.#elapsed = this.#localMs();
    this.#since = this.#clockwork.nowMs;
    this.#rate = 1 + numberOption('ppm', ppm, { min: -500_000, max: 500_000 }) / 1e6;
  }

  /** Milliseconds by its own clock since the start of the simulation. */
  #localMs(): number {
    return this.#elapsed + (this.#clockwork.nowMs - this.#since) * this.#rate;
  }

  #runtime(owner: Owner): Runtime {
    const clockwork = this.#clockwork;
    const started = this.#localMs();
    const random = clockwork.stream(`node ${this.id} ${String(this.#starts)}`);
    // Rounding must not show a timer a clock before its due time.
    let floor = 0;
    const monotonic = (): number => (floor = Math.max(floor, this.#localMs() - started));
    return {
      now: () => Math.floor(this.#wallOffset + this.#localMs()),
      monotonic,
      random,
      randomBytes: (size) => Uint8Array.from({ length: size }, () => Math.floor(random() * 256)),
      setTimer: (delayMs, run): Timer => {
        const delay = Math.max(0, numberOption('delayMs', delayMs, { min: Number.NEGATIVE_INFINITY }));
        if (!owner.alive) return { cancel: () => undefined };
        const due = monotonic() + delay;
        const set = (inMs: number): SimEvent =>
          clockwork.schedule(inMs / this.#rate, owner, 'timer', this.id, inMs, fire);
        const fire = (): void => {
          const early = due - monotonic();
          // The clock has become slower since the timer was set.
          if (early > ROUNDING_MS) event = set(early);
          else {
            floor = Math.max(floor, due);
            run();
          }
        };
        let event = set(delay);
        return {
          cancel: () => {
            event.cancelled = true;
          },
        };
      },
    };
  }
}

/** Differences of time below this are those of floating-point numbers. */
const ROUNDING_MS = 1e-6;
