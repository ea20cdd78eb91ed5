import type { FileHandle, FileSystem } from '../../src/file-system.js';
import { StorageLockedError } from '../../src/errors.js';

/*
 * A disk in memory that loses what it may lose.
 *
 * Written data are volatile until a sync of their file. A crash of the machine keeps or loses each written sector of
 * 512 bytes on its own, so that writes are torn and reordered; likewise each change of a name since the last sync of
 * the directory. A crash of the process keeps everything, and what was volatile stays volatile. A sync can fail, and
 * then marks some of the sectors as clean that never reached the this. Every call is a step at which the process can
 * end; nothing it started goes on.
 */
const SECTOR = 512;

interface Inode {
  /** What a reader sees. */
  content: Buffer;
  /** What is on the platter. */
  platter: Buffer;
  /** Sectors that a sync would write. */
  dirty: Set<number>;
}

type NameChange =
  | { readonly kind: 'set'; readonly name: string; readonly inode: Inode; readonly from?: string }
  | {
      readonly kind: 'remove';
      readonly name: string;
    };

export class Crashed extends Error {}

export class FaultyDisk {
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #pendingNames: NameChange[] = [];
  #epoch = 0;
  #held = false;
  /** Calls so far. */
  steps = 0;
  /** The step at which the process ends. */
  crashAt = Infinity;
  /** The step from which on syncs fail. */
  failSyncAt = Infinity;
  /** Bytes that all files together may take. */
  capacity = Infinity;
  syncs = 0;

  constructor(readonly random: () => number) {}

  get crashed(): boolean {
    return this.steps >= this.crashAt;
  }

  /** The content of a file, for damage. */
  file(name: string): { content: Buffer; platter: Buffer } {
    const inode = this.#names.get(name);
    if (inode === undefined) throw new Error(`no file ${name}`);
    return inode;
  }

  names(): string[] {
    return [...this.#names.keys()].sort();
  }

  /** The process ended; the machine goes on. */
  killProcess(): void {
    this.#epoch++;
    this.#held = false;
    this.#reset();
  }

  /** The machine lost its power. */
  losePower(): void {
    this.killProcess();
    for (const change of this.#pendingNames) if (this.random() < 0.5) this.#apply(this.#durableNames, change);
    this.#pendingNames = [];
    for (const inode of new Set([...this.#names.values(), ...this.#durableNames.values()])) {
      const kept = Buffer.alloc(inode.content.length);
      inode.platter.copy(kept);
      for (const sector of inode.dirty) if (this.random() < 0.5) copySector(inode.content, kept, sector);
      inode.content = kept;
      inode.platter = Buffer.from(kept);
      inode.dirty.clear();
    }
    this.#names = new Map(this.#durableNames);
  }

  #reset(): void {
    this.steps = 0;
    this.crashAt = Infinity;
    this.failSyncAt = Infinity;
  }

  #apply(names: Map<string, Inode>, change: NameChange): void {
    if (change.kind === 'remove') names.delete(change.name);
    else {
      if (change.from !== undefined) names.delete(change.from);
      names.set(change.name, change.inode);
    }
  }

  #change(change: NameChange): void {
    this.#apply(this.#names, change);
    this.#pendingNames.push(change);
  }

  /** What the process of now sees. */
  mount(): FileSystem {
    const epoch = this.#epoch;
    const step = async (): Promise<void> => {
      await Promise.resolve();
      if (epoch !== this.#epoch || this.steps >= this.crashAt) throw new Crashed('the process has ended');
      this.steps++;
    };
    const get = (path: string): Inode => {
      const inode = this.#names.get(path);
      if (inode === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
      return inode;
    };
    return {
      mkdir: step,
      readdir: async (path) => {
        await step();
        return this.names().flatMap((name) =>
          name.startsWith(`${path}/`) ? name.slice(path.length + 1) : [],
        );
      },
      open: async (path, mode) => {
        await step();
        if (mode === 'must-exist') return this.#handle(get(path), step);
        const inode = { content: Buffer.alloc(0), platter: Buffer.alloc(0), dirty: new Set<number>() };
        this.#change({ kind: 'set', name: path, inode });
        return this.#handle(inode, step);
      },
      rename: async (from, to) => {
        await step();
        this.#change({ kind: 'set', name: to, inode: get(from), from });
      },
      unlink: async (path) => {
        await step();
        get(path);
        this.#change({ kind: 'remove', name: path });
      },
      syncDirectory: async () => {
        await step();
        for (const change of this.#pendingNames.splice(0)) this.#apply(this.#durableNames, change);
      },
      lock: async (directory) => {
        await step();
        if (this.#held) throw new StorageLockedError(directory);
        this.#held = true;
        return {
          release: async () => {
            await step();
            this.#held = false;
          },
        };
      },
    };
  }

  #handle(inode: Inode, step: () => Promise<void>): FileHandle {
    return {
      size: async () => {
        await step();
        return inode.content.length;
      },
      read: async (into, position) => {
        await step();
        return inode.content.copy(into, 0, position, position + into.length);
      },
      write: async (bytes, position) => {
        await step();
        const end = position + bytes.length;
        if (end > inode.content.length) {
          if (this.#used() + end - inode.content.length > this.capacity) {
            throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
          }
          inode.content = Buffer.concat([inode.content, Buffer.alloc(end - inode.content.length)]);
        }
        inode.content.set(bytes, position);
        for (let at = Math.floor(position / SECTOR); at * SECTOR < end; at++) inode.dirty.add(at);
      },
      sync: async () => {
        await step();
        this.syncs++;
        if (this.steps >= this.failSyncAt) {
          for (const sector of inode.dirty) if (this.random() < 0.5) inode.dirty.delete(sector);
          throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
        }
        const platter = Buffer.alloc(inode.content.length);
        inode.platter.copy(platter);
        for (const sector of inode.dirty) copySector(inode.content, platter, sector);
        inode.platter = platter;
        inode.dirty.clear();
      },
      close: () => Promise.resolve(),
    };
  }

  #used(): number {
    return [...this.#names.values()].reduce((sum, { content }) => sum + content.length, 0);
  }
}

function copySector(from: Buffer, to: Buffer, sector: number): void {
  from.copy(to, sector * SECTOR, sector * SECTOR, (sector + 1) * SECTOR);
}
