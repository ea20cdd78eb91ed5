/*
 * The fault model of a disk.
 *
 * A write is seen by later reads at once and is volatile until a sync of its file resolves. A crash of the machine
 * keeps or loses each unsynced sector (`sectorBytes`) on its own, so that writes are torn and reordered within a file;
 * the file's length is kept or lost likewise. Of the names created, renamed or removed since the last sync of their
 * directory a crash keeps any (`names: 'any'`, all that POSIX promises) or a prefix (`names: 'ordered'`, as a journaled
 * file system does). Directories are there for good once they were made. The end of the process alone loses nothing.
 * Either end finds some calls under way: each of them took effect, or did not; what it wrote is volatile.
 *
 * Calls fail with EIO and change nothing (`failing`, `errors`); a sync that fails leaves some of the sectors for clean
 * that never reached the platter, so that a later sync that succeeds does not make them durable (A. Rebello et al.,
 * "Can Applications Recover from fsync Failures?", 2020). Writes reject with ENOSPC and write nothing where the disk is
 * full (`capacityBytes`, `full`). `flipBit` damages what is on the platter. Calls take `minDelayMs` to `maxDelayMs`,
 * times `slowdown`; those of a process that ended never settle.
 */
import type { DirectoryLock, FileHandle, FileSystem } from '@quorate/durable-log';
import { StorageLockedError } from '@quorate/durable-log';
import { choiceOption, integerOption, numberOption, QuorateError, seededRandom } from '@quorate/runtime';
import type { Owner } from './core/clockwork.js';
import { Inode } from './core/inode.js';

/** How a {@link SimDisk} behaves. */
export interface DiskOptions {
  /** Shortest time of a call, in milliseconds. @defaultValue 0.02 */
  readonly minDelayMs?: number;
  /** Longest time of a call, in milliseconds. @defaultValue 1 */
  readonly maxDelayMs?: number;
  /** Bytes that all files together may take. @defaultValue 2^53 - 1 */
  readonly capacityBytes?: number;
  /** What a crash keeps or loses as one, in bytes. 1 tears writes at any byte. @defaultValue 512 */
  readonly sectorBytes?: number;
  /** Which unsynced changes of names a crash keeps: any of them, or a prefix. @defaultValue 'any' */
  readonly names?: 'any' | 'ordered';
}

/** What goes wrong with a disk for a while. */
export interface DiskFaults {
  /** Share of calls that fail with `EIO` and change nothing, from 0 to 1. */
  readonly errors?: number;
  /** Share of syncs of files that fail with `EIO` and forget some of the sectors, from 0 to 1. */
  readonly syncErrors?: number;
  /** Whether writes fail with `ENOSPC`. */
  readonly full?: boolean;
  /** How many times as long calls take, at least 1. */
  readonly slowdown?: number;
}

/** A call to the file system, as {@link SimDisk.intercept} sees it. */
export interface DiskCall {
  readonly what:
    | 'close'
    | 'lock'
    | 'mkdir'
    | 'open'
    | 'read'
    | 'readdir'
    | 'rename'
    | 'size'
    | 'sync'
    | 'sync directory'
    | 'unlink'
    | 'unlock'
    | 'write';
  /** The file or directory. */
  readonly path: string;
  /** How many calls came before it on this disk. */
  readonly number: number;
}

/** A simulated file system's refusal; `code` is that of `node:fs`, such as `ENOENT`, `EIO` or `ENOSPC`. */
export class SimDiskError extends QuorateError {
  static override readonly brand: string = '@quorate/simulator#SimDiskError';
}

/** What a disk asks of the world that it is in. */
export interface DiskWorld {
  readonly random: () => number;
  /** Does the work once the time is over, if the process still lives. */
  after(delayMs: number, owner: Owner, what: string, work: () => void): void;
  wrote(bytes: Uint8Array): void;
}

interface NameChange {
  readonly directory: string;
  apply(names: Map<string, Inode>): void;
}

/** Calls that change something, and so may have taken effect when their process ended. */
const CHANGING: ReadonlySet<DiskCall['what']> = new Set(['open', 'rename', 'unlink', 'write']);

/** The disk of one node. It outlives the node's crashes. */
export class SimDisk {
  /** While true every call but a close rejects with `EIO`. */
  failing = false;
  /** Bytes that all files together may take. */
  capacityBytes: number;
  /** How many syncs of files succeeded. */
  syncs = 0;
  readonly #delays: { readonly min: number; readonly max: number };
  readonly #sectorBytes: number;
  readonly #ordered: boolean;
  #calls = 0;
  #names = new Map<string, Inode>();
  #durable = new Map<string, Inode>();
  #pending: NameChange[] = [];
  readonly #locks = new Map<string, Owner>();
  readonly #underWay = new Set<() => unknown>();
  #disturbances: readonly DiskFaults[] = [];
  readonly #hooks = new Set<(call: DiskCall) => string | undefined>();

  /** @internal */
  constructor(
    private readonly world: DiskWorld,
    readonly id: string,
    options: DiskOptions,
  ) {
    const min = numberOption('minDelayMs', options.minDelayMs ?? 0.02);
    this.#delays = { min, max: numberOption('maxDelayMs', options.maxDelayMs ?? Math.max(1, min), { min }) };
    this.capacityBytes = integerOption('capacityBytes', options.capacityBytes ?? Number.MAX_SAFE_INTEGER);
    this.#sectorBytes = integerOption('sectorBytes', options.sectorBytes ?? 512, { min: 1 });
    this.#ordered = choiceOption('names', options.names ?? 'any', ['any', 'ordered']) === 'ordered';
  }

  /** Bytes that all files take. */
  get usedBytes(): number {
    let used = 0;
    for (const { size } of new Set(this.#names.values())) used += size;
    return used;
  }

  /** How many calls it took, or refused. */
  get calls(): number {
    return this.#calls;
  }

  /** The names of all files, sorted. */
  files(): string[] {
    return [...this.#names.keys()].sort();
  }

  /** A copy of a file as its readers see it. Throws `ENOENT` where there is none. */
  content(path: string): Uint8Array {
    return Uint8Array.from(this.#inode(path).content);
  }

  /** Flips one bit of a file, on the platter and for readers. Throws `ENOENT` where there is none. */
  flipBit(path: string, bit: number): void {
    const inode = this.#inode(path);
    inode.flip(integerOption('bit', bit, { max: inode.size * 8 - 1 }));
  }

  /** Makes things go wrong until it is undone. Where several say something, the worst counts. */
  disturb(faults: DiskFaults): () => void {
    numberOption('errors', faults.errors ?? 0, { max: 1 });
    numberOption('syncErrors', faults.syncErrors ?? 0, { max: 1 });
    numberOption('slowdown', faults.slowdown ?? 1, { min: 1 });
    const one = { ...faults };
    this.#disturbances = [...this.#disturbances, one];
    return () => {
      this.#disturbances = this.#disturbances.filter((other) => other !== one);
    };
  }

  /**
   * Looks at every call before it is carried out. Where `look` returns a code, the call fails with it and changes
   * nothing, but a `sync` forgets sectors as the fault model says. It may also end the process: then the call is
   * under way. Returns what undoes it.
   */
  intercept(look: (call: DiskCall) => string | undefined): () => void {
    this.#hooks.add(look);
    return () => void this.#hooks.delete(look);
  }

  /** Undoes all that was done to it but damage. */
  heal(): void {
    this.failing = false;
    this.#disturbances = [];
    this.#hooks.clear();
  }

  /** What is left after the process ended. @internal */
  loseProcess(): void {
    this.#locks.clear();
    for (const effect of this.#underWay) {
      if (this.world.random() >= 0.5) continue;
      try {
        effect();
      } catch {
        // It would have been refused, and nobody is left to be told.
      }
    }
    this.#underWay.clear();
  }

  /** What is left after the machine lost its power. @internal */
  losePower(): void {
    const { random } = this.world;
    this.loseProcess();
    const prefix = Math.floor(random() * (this.#pending.length + 1));
    for (const [at, change] of this.#pending.entries()) {
      if (this.#ordered ? at < prefix : random() < 0.5) change.apply(this.#durable);
    }
    this.#pending = [];
    for (const inode of new Set([...this.#names.values(), ...this.#durable.values()]))
      inode.losePower(random);
    this.#names = new Map(this.#durable);
  }

  /** The file system as one process sees it. @internal */
  mount(owner: Owner): FileSystem {
    const call = <T>(what: DiskCall['what'], path: string, work: () => T, failed?: () => void): Promise<T> =>
      this.#call(owner, what, path, work, failed);
    const open = (path: string, inode: Inode): FileHandle => ({
      size: () => call('size', path, () => inode.size),
      read: (into, position) => call('read', path, () => inode.read(into, position)),
      write: (bytes, position) => call('write', path, () => this.#write(inode, bytes, position)),
      sync: () => {
        const sync = (): void => {
          inode.sync();
          this.syncs++;
        };
        return call('sync', path, sync, () => inode.failSync(this.world.random));
      },
      close: () => call('close', path, () => undefined),
    });
    return {
      mkdir: (path) => call('mkdir', path, () => undefined),
      readdir: (path) =>
        call('readdir', path, () =>
          this.files()
            .filter((name) => parent(name) === path)
            .map((name) => name.slice(path.length + 1)),
        ),
      open: (path, mode) =>
        call('open', path, () => {
          if (mode === 'must-exist') return open(path, this.#inode(path));
          const there = this.#names.get(path);
          if (there !== undefined) {
            there.resize(0);
            return open(path, there);
          }
          const inode = new Inode(this.#sectorBytes);
          this.#change(parent(path), (names) => void names.set(path, inode));
          return open(path, inode);
        }),
      rename: (from, to) =>
        call('rename', from, () => {
          const inode = this.#inode(from);
          this.#change(parent(to), (names) => {
            names.delete(from);
            names.set(to, inode);
          });
        }),
      unlink: (path) =>
        call('unlink', path, () => {
          this.#inode(path);
          this.#change(parent(path), (names) => void names.delete(path));
        }),
      syncDirectory: (path) =>
        call('sync directory', path, () => {
          for (const change of this.#pending) if (change.directory === path) change.apply(this.#durable);
          this.#pending = this.#pending.filter(({ directory }) => directory !== path);
        }),
      lock: (directory) =>
        call('lock', directory, (): DirectoryLock => {
          if (this.#locks.get(directory)?.alive === true) throw new StorageLockedError(directory);
          this.#locks.set(directory, owner);
          return {
            release: () =>
              call('unlock', directory, () => {
                if (this.#locks.get(directory) === owner) this.#locks.delete(directory);
              }),
          };
        }),
    };
  }

  #call<T>(
    owner: Owner,
    what: DiskCall['what'],
    path: string,
    work: () => T,
    failed: (() => void) | undefined,
  ): Promise<T> {
    const { min, max } = this.#delays;
    const slowest = Math.max(...this.#disturbances.map(({ slowdown }) => slowdown ?? 1), 1);
    const delayMs = (min + this.world.random() * (max - min)) * slowest;
    return new Promise((resolve, reject) => {
      const changes = CHANGING.has(what) && owner.alive;
      if (changes) this.#underWay.add(work);
      this.world.after(delayMs, owner, `disk ${what}`, () => {
        try {
          const code = this.#refusal({ what, path, number: this.#calls++ });
          // Whoever looked at the call may have ended the process.
          if (!owner.alive) return;
          this.#underWay.delete(work);
          if (code !== undefined) {
            if (code !== 'ENOSPC') failed?.();
            throw new SimDiskError(code, `${what} of ${path} on the disk of ${this.id}`);
          }
          resolve(work());
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
  }

  /** The code with which a call fails, if it does. */
  #refusal(call: DiskCall): string | undefined {
    let code: string | undefined;
    for (const look of this.#hooks) code ??= look(call);
    if (code !== undefined || call.what === 'close') return code;
    if (this.failing) return 'EIO';
    for (const { errors = 0, syncErrors = 0, full = false } of this.#disturbances) {
      if (full && call.what === 'write') return 'ENOSPC';
      if (errors > 0 && this.world.random() < errors) return 'EIO';
      if (call.what === 'sync' && syncErrors > 0 && this.world.random() < syncErrors) return 'EIO';
    }
    return undefined;
  }

  #write(inode: Inode, bytes: Uint8Array, position: number): void {
    const grows = Math.max(0, position + bytes.length - inode.size);
    if (grows > 0 && this.usedBytes + grows > this.capacityBytes) {
      throw new SimDiskError('ENOSPC', `${String(bytes.length)} bytes on the disk of ${this.id}`);
    }
    inode.write(bytes, position);
    this.world.wrote(bytes);
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined)
      throw new SimDiskError('ENOENT', `no such file: ${path} on the disk of ${this.id}`);
    return inode;
  }

  #change(directory: string, apply: (names: Map<string, Inode>) => void): void {
    apply(this.#names);
    this.#pending.push({ directory, apply });
  }
}

/** A disk by itself, without nodes and without time. */
export interface StandaloneDisk {
  readonly disk: SimDisk;
  /** The file system as a new process sees it; the one before has ended. */
  mount(): FileSystem;
  /** Ends the process: its calls never settle. */
  kill(): void;
  /** Ends the process and the machine, and loses what the fault model says. */
  losePower(): void;
}

/**
 * A disk by itself: each call is carried out in a promise callback of its own, in the order of the calls. For tests of
 * storage that need no nodes, no network and no time.
 */
export function createSimDisk(options: DiskOptions & { readonly seed: number }): StandaloneDisk {
  const random = seededRandom(options.seed);
  let owner: Owner = { alive: false, paused: false, held: [] };
  const disk = new SimDisk(
    {
      random,
      wrote: () => undefined,
      after: (_delayMs, process, _what, work) =>
        void Promise.resolve().then(() => {
          if (process.alive) work();
        }),
    },
    'disk',
    options,
  );
  return {
    disk,
    mount() {
      if (owner.alive) this.kill();
      owner = { alive: true, paused: false, held: [] };
      return disk.mount(owner);
    },
    kill() {
      owner.alive = false;
      disk.loseProcess();
    },
    losePower() {
      owner.alive = false;
      disk.losePower();
    },
  };
}

function parent(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}
