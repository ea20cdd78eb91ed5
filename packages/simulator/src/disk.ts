/*
 * The fault model of a disk.
 *
 * A write is seen by later reads at once and is volatile until a sync of its file resolves. A crash of the machine
 * keeps or loses each unsynced sector of 512 bytes on its own, so that writes are torn and reordered within a file;
 * the file's length is kept or lost likewise. Of the names changed since the last sync of their directory a crash keeps
 * a prefix, as a journaled file system does. `failing` makes every call reject with EIO and change nothing;
 * `capacityBytes` makes writes reject with ENOSPC and write nothing; `flipBit` damages what is on the platter. A sync
 * that fails leaves the data volatile. Calls take `minDelayMs` to `maxDelayMs`, and those of a crashed process never
 * settle and have no effect, unless they had it before.
 */
import type { DirectoryLock, FileHandle, FileSystem } from '@quorate/durable-log';
import { StorageLockedError } from '@quorate/durable-log';
import { integerOption, numberOption, QuorateError } from '@quorate/runtime';
import type { Clockwork, Owner } from './core/clockwork.js';

const SECTOR = 512;

/** How a {@link SimDisk} behaves. */
export interface DiskOptions {
  /** Shortest time of a call, in milliseconds. @defaultValue 0.02 */
  readonly minDelayMs?: number;
  /** Longest time of a call, in milliseconds. @defaultValue 1 */
  readonly maxDelayMs?: number;
  /** Bytes that all files together may take. @defaultValue 2^53 - 1 */
  readonly capacityBytes?: number;
}

/** A simulated file system's refusal; `code` is that of `node:fs`, such as `ENOENT`, `EIO` or `ENOSPC`. */
export class SimDiskError extends QuorateError {
  static override readonly brand: string = '@quorate/simulator#SimDiskError';
}

interface Inode {
  content: Buffer;
  platter: Buffer;
  dirty: Set<number>;
}

interface NameChange {
  readonly directory: string;
  apply(names: Map<string, Inode>): void;
}

/** The disk of one node. It outlives the node's crashes. */
export class SimDisk {
  /** While true every call rejects with `EIO`. */
  failing = false;
  /** Bytes that all files together may take. */
  capacityBytes: number;
  readonly #delays: { readonly min: number; readonly max: number };
  #names = new Map<string, Inode>();
  #durable = new Map<string, Inode>();
  #pending: NameChange[] = [];
  readonly #directories = new Set<string>(['/', '.', '']);
  readonly #locks = new Map<string, Owner>();

  /** @internal */
  constructor(
    readonly clockwork: Clockwork,
    readonly id: string,
    options: DiskOptions,
  ) {
    const min = numberOption('minDelayMs', options.minDelayMs ?? 0.02);
    this.#delays = { min, max: numberOption('maxDelayMs', options.maxDelayMs ?? Math.max(1, min), { min }) };
    this.capacityBytes = integerOption('capacityBytes', options.capacityBytes ?? Number.MAX_SAFE_INTEGER);
  }

  /** Bytes that all files take. */
  get usedBytes(): number {
    let used = 0;
    for (const { content } of new Set(this.#names.values())) used += content.length;
    return used;
  }

  /** Flips one bit of a file, on the platter and for readers. Throws `ENOENT` where there is none. */
  flipBit(path: string, bit: number): void {
    const inode = this.#inode(path);
    integerOption('bit', bit, { max: inode.content.length * 8 - 1 });
    for (const bytes of [inode.content, inode.platter]) {
      const byte = bytes[bit >> 3];
      if (byte !== undefined) bytes[bit >> 3] = byte ^ (1 << (bit & 7));
    }
  }

  /** The names of all files, sorted. */
  files(): string[] {
    return [...this.#names.keys()].sort();
  }

  /** What is left after the machine lost its power. @internal */
  losePower(): void {
    const { random } = this.clockwork;
    this.#locks.clear();
    const kept = Math.floor(random() * (this.#pending.length + 1));
    for (const change of this.#pending.slice(0, kept)) change.apply(this.#durable);
    this.#pending = [];
    for (const inode of new Set([...this.#names.values(), ...this.#durable.values()])) {
      if (inode.dirty.size === 0 && inode.content.length === inode.platter.length) continue;
      const size = random() < 0.5 ? inode.content.length : inode.platter.length;
      const after = Buffer.alloc(size);
      inode.platter.copy(after, 0, 0, size);
      for (const sector of inode.dirty) {
        if (random() < 0.5)
          inode.content.copy(after, sector * SECTOR, sector * SECTOR, (sector + 1) * SECTOR);
      }
      inode.content = after;
      inode.platter = Buffer.from(after);
      inode.dirty.clear();
    }
    this.#names = new Map(this.#durable);
  }

  /** The file system as one process sees it. @internal */
  mount(owner: Owner): FileSystem {
    const call = <T>(what: string, work: () => T): Promise<T> => this.#call(owner, what, work);
    const open = (inode: Inode): FileHandle => ({
      size: () => call('size', () => inode.content.length),
      read: (into, position) => call('read', () => inode.content.copy(into, 0, position)),
      write: (bytes, position) => call('write', () => this.#write(inode, bytes, position)),
      sync: () =>
        call('sync', () => {
          inode.platter = Buffer.from(inode.content);
          inode.dirty.clear();
        }),
      close: () => call('close', () => undefined),
    });
    return {
      mkdir: (path) => call('mkdir', () => void this.#directories.add(path)),
      readdir: (path) =>
        call('readdir', () =>
          this.files()
            .filter((name) => parent(name) === path)
            .map((name) => name.slice(path.length + 1)),
        ),
      open: (path, mode) =>
        call(`open`, () => {
          const there = this.#names.get(path);
          if (mode === 'must-exist') return open(this.#inode(path));
          if (there !== undefined) {
            this.#resize(there, 0);
            return open(there);
          }
          const inode: Inode = { content: Buffer.alloc(0), platter: Buffer.alloc(0), dirty: new Set() };
          this.#change(parent(path), (names) => void names.set(path, inode));
          return open(inode);
        }),
      rename: (from, to) =>
        call('rename', () => {
          const inode = this.#inode(from);
          this.#change(parent(to), (names) => {
            names.delete(from);
            names.set(to, inode);
          });
        }),
      unlink: (path) =>
        call('unlink', () => {
          this.#inode(path);
          this.#change(parent(path), (names) => void names.delete(path));
        }),
      syncDirectory: (path) =>
        call('sync directory', () => {
          for (const change of this.#pending) if (change.directory === path) change.apply(this.#durable);
          this.#pending = this.#pending.filter(({ directory }) => directory !== path);
        }),
      lock: (directory) =>
        call('lock', (): DirectoryLock => {
          if (this.#locks.get(directory)?.alive === true) throw new StorageLockedError(directory);
          this.#locks.set(directory, owner);
          return {
            release: () =>
              call('unlock', () => {
                if (this.#locks.get(directory) === owner) this.#locks.delete(directory);
              }),
          };
        }),
    };
  }

  #call<T>(owner: Owner, what: string, work: () => T): Promise<T> {
    const delay = this.#delays.min + this.clockwork.random() * (this.#delays.max - this.#delays.min);
    return new Promise((resolve, reject) => {
      this.clockwork.schedule(delay, owner, `disk ${what}`, this.id, 0, () => {
        try {
          if (this.failing && what !== 'close')
            throw new SimDiskError('EIO', `${what} on the disk of ${this.id}`);
          resolve(work());
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
  }

  #write(inode: Inode, bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    const grows = Math.max(0, end - inode.content.length);
    if (this.usedBytes + grows > this.capacityBytes) {
      throw new SimDiskError('ENOSPC', `${String(bytes.length)} bytes on the disk of ${this.id}`);
    }
    if (grows > 0) this.#resize(inode, end);
    inode.content.set(bytes, position);
    this.clockwork.trace.foldBytes(bytes);
    if (bytes.length === 0) return;
    for (let sector = Math.floor(position / SECTOR); sector * SECTOR < end; sector++) inode.dirty.add(sector);
  }

  #resize(inode: Inode, size: number): void {
    const content = Buffer.alloc(size);
    inode.content.copy(content);
    inode.content = content;
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

function parent(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}
