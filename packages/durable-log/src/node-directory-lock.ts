import { randomId, systemRuntime } from '@quorate/runtime';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { LogStorageError, StorageLockedError } from './errors.js';
import type { DirectoryLock } from './file-system.js';

/** Beyond it `bind` refuses the path of a socket: 108 bytes on Linux, 104 elsewhere, with the final zero. */
const MAX_SOCKET_PATH_BYTES = 103;
const NAME = /^lock\.(\d+)\.[0-9a-z-]+$/i;

/**
 * Takes a directory for this holder alone, by a listening socket in it: Node has no `flock`, and a listening socket
 * too is let go of by the kernel however its process ends, so that there is no stale lock to explain away. It works
 * between containers that share the directory on one machine, and also within one process. On Windows it is a named
 * pipe of which there can be one.
 *
 * Everybody listens under a name of their own and only then looks at the others. So of two that come together at
 * least one sees the other and gives way; it may be both.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const real = await fs.realpath(directory);
  return process.platform === 'win32' ? lockPipe(real) : lockSocket(real);
}

async function lockSocket(directory: string): Promise<DirectoryLock> {
  const own = `lock.${String(process.pid)}.${randomId(systemRuntime)}`;
  const base = await shortPath(directory);
  try {
    return await takeSocket(directory, base.path, own);
  } finally {
    await base.end();
  }
}

async function takeSocket(directory: string, base: string, own: string): Promise<DirectoryLock> {
  const server = await listen(join(base, own), directory);
  // libuv removes the path it listened on, which may have been a short one that is gone by then.
  const release = async (): Promise<void> => {
    await fs.rm(join(directory, own), { force: true });
    await close(server);
  };
  try {
    for (const name of await fs.readdir(directory)) {
      if (name === own || !NAME.test(name)) continue;
      if (await isAlive(join(base, name))) {
        throw new StorageLockedError(directory, `process ${NAME.exec(name)?.[1] ?? ''}`);
      }
      await fs.rm(join(directory, name), { force: true });
    }
    // Somebody who looked while this socket was bound and not listening yet took it for dead and removed it.
    if (!(await fs.readdir(directory)).includes(own)) throw new StorageLockedError(directory);
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}

async function lockPipe(directory: string): Promise<DirectoryLock> {
  const name = createHash('sha256').update(directory.toLowerCase()).digest('hex');
  const server = await listen(`\\\\.\\pipe\\quorate-${name}`, directory);
  return { release: () => close(server) };
}

/** A way to name files of the directory that fits into the address of a socket. */
async function shortPath(directory: string): Promise<{ readonly path: string; end(): Promise<void> }> {
  const longest = `/lock.${'0'.repeat(10)}.${randomId(systemRuntime)}`.length;
  if (Buffer.byteLength(directory) + longest <= MAX_SOCKET_PATH_BYTES) {
    return { path: directory, end: () => Promise.resolve() };
  }
  if (process.platform !== 'linux') {
    throw new LogStorageError(
      'LOCK_UNSUPPORTED',
      `the path of ${directory} is too long for the socket that locks it: use one of at most ${String(MAX_SOCKET_PATH_BYTES - longest)} bytes`,
    );
  }
  const handle = await fs.open(directory, 'r');
  return { path: `/proc/self/fd/${String(handle.fd)}`, end: () => handle.close() };
}

function listen(path: string, directory: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new StorageLockedError(directory)
          : new LogStorageError(
              'LOCK_UNSUPPORTED',
              `${directory} cannot be locked, because no socket can be made in it (${error.message}): use a directory of a local file system that this process may write to`,
              { cause: error },
            ),
      );
    });
    server.listen(path, () => {
      resolve(server);
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}

/** Whether a process listens there. The kernel answers, also for a process whose event loop is busy or stopped. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // A full backlog (EAGAIN), or a socket of another user (EACCES): somebody is there.
      else if (error.code === 'EAGAIN' || error.code === 'EACCES') resolve(true);
      else reject(error);
    });
  });
}
