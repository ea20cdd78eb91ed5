import type { ServiceName } from '@quorate/testing';
import { descriptorOf } from '../../src/registry.js';

/** Whether a process exists and is not merely waiting for its parent to notice its end. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The version that the server at `url` reports. */
export function readyUrl(name: ServiceName, url: string): Promise<string> {
  return descriptorOf(name).probe(url);
}
