import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import { header, readHeader } from './core/node.js';
import type { HlcBoundStore } from './persisted-hlc.js';

/**
 * Keeps a clock's upper bound in a file of 18 bytes. Saved means durable: the bound is written beside the file,
 * synced, renamed over it, and the folder is synced, so that a crash leaves the old bound or the new one. The folder
 * must exist. One process at a time may use the file.
 *
 * `load` gives undefined when there is no file, and throws MalformedBytesError when the file is damaged rather than
 * let the clock go back.
 */
export function fileBoundStore(path: string): HlcBoundStore {
  return {
    async load() {
      let bytes: Uint8Array;
      try {
        bytes = await readFile(path);
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw error;
      }
      const reader = new ByteReader(bytes);
      readHeader(reader, 'bound');
      const bound = reader.u64();
      // Written twice: a bit that flipped shows.
      if (reader.u64() !== bound) reader.fail('a bound that differs from its copy');
      reader.end();
      return bound;
    },
    async save(boundMs) {
      const fresh = `${path}.new`;
      const bytes = new ByteWriter(18).raw(header('bound')).u64(boundMs).u64(boundMs).finish();
      const file = await open(fresh, 'w');
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(fresh, path);
      const folder = await open(dirname(path), 'r');
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    },
  };
}
