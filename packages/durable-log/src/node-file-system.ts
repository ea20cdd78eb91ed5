import { constants, fdatasync, fdatasyncSync, fsync, read, write, writeSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { promisify } from 'node:util';
import type { FileHandle, FileSystem } from './file-system.js';
import { lockDirectory } from './node-directory-lock.js';

const readAt = promisify(read);
const writeAt = promisify(write);
const dataSync = promisify(fdatasync);
const fullSync = promisify(fsync);

/**
 * Up to so many bytes go to the page cache on this thread: that takes a few microseconds, and the way to a thread of
 * the pool and back takes twenty.
 */
const SYNCHRONOUS_BYTES = 64 * 1024;
const PRIVATE_FILE = 0o600;

/** With `blockingSync`, files are synced on this thread. */
export const createNodeFileSystem = (blockingSync: boolean): FileSystem => ({
  async mkdir(path) {
    await fs.mkdir(path, { recursive: true });
  },
  readdir: (path) => fs.readdir(path),
  async open(path, mode) {
    const flags = constants.O_RDWR | (mode === 'create' ? constants.O_CREAT | constants.O_TRUNC : 0);
    return new NodeFileHandle(await fs.open(path, flags, PRIVATE_FILE), blockingSync);
  },
  rename: (from, to) => fs.rename(from, to),
  unlink: (path) => fs.unlink(path),
  async syncDirectory(path) {
    // Windows has no such call; its NTFS logs changes of names in order.
    if (process.platform === 'win32') return;
    const directory = await fs.open(path, constants.O_RDONLY);
    try {
      await fullSync(directory.fd);
    } finally {
      await directory.close();
    }
  },
  lock: lockDirectory,
});

/** The file system of the machine, by `node:fs`. Directories are synced where the platform can do that. */
export const nodeFileSystem: FileSystem = createNodeFileSystem(false);

class NodeFileHandle implements FileHandle {
  readonly #handle: fs.FileHandle;
  readonly #blockingSync: boolean;

  constructor(handle: fs.FileHandle, blockingSync: boolean) {
    this.#handle = handle;
    this.#blockingSync = blockingSync;
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await readAt(this.#handle.fd, into, done, into.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const left = bytes.length - done;
      done +=
        left <= SYNCHRONOUS_BYTES
          ? writeSync(this.#handle.fd, bytes, done, left, position + done)
          : (await writeAt(this.#handle.fd, bytes, done, left, position + done)).bytesWritten;
    }
  }

  async sync(): Promise<void> {
    if (this.#blockingSync) fdatasyncSync(this.#handle.fd);
    else await dataSync(this.#handle.fd);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}
