import { choiceOption, systemRuntime } from '@quorate/runtime';
import type { ServiceDescriptor, ServiceName } from './descriptor.js';
import { type Instance, startInstance } from './instance.js';
import { etcd } from './services/etcd.js';
import { mqtt } from './services/mqtt.js';
import { mysql } from './services/mysql.js';
import { nats } from './services/nats.js';
import { pgbouncer } from './services/pgbouncer.js';
import { postgres } from './services/postgres.js';
import { rabbitmq } from './services/rabbitmq.js';
import { redis } from './services/redis.js';
import { sourceOf } from './source.js';

/** Every kind of server there is. */
export const DESCRIPTORS: Readonly<Record<ServiceName, ServiceDescriptor>> = {
  postgres,
  mysql,
  redis,
  rabbitmq,
  nats,
  mqtt,
  etcd,
  pgbouncer,
};

/** The descriptor of a kind of server; an unknown name is an error that lists those there are. */
export function descriptorOf(name: string): ServiceDescriptor {
  return DESCRIPTORS[choiceOption('service', name, Object.keys(DESCRIPTORS) as ServiceName[])];
}

/** A server that a run shares. */
export interface SharedService {
  readonly name: ServiceName;
  readonly url: string;
  readonly version: string;
  readonly origin: string;
  /** How long it took to be ready, in milliseconds; of an address in the environment, to answer. */
  readonly startedInMs: number;
  readonly instance?: Instance;
}

/** The servers that one run shares, each started when first asked for. */
export class ServiceRegistry {
  readonly #services = new Map<ServiceName, Promise<SharedService>>();

  get(name: string): Promise<SharedService> {
    const descriptor = descriptorOf(name);
    let service = this.#services.get(descriptor.name);
    if (service === undefined) {
      service = provide(descriptor);
      this.#services.set(descriptor.name, service);
    }
    return service;
  }

  /** Stops every server that this registry started and returns all that it gave. */
  async close(): Promise<readonly SharedService[]> {
    const settled = await Promise.allSettled(this.#services.values());
    this.#services.clear();
    const given = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    await Promise.all(given.flatMap(({ instance }) => (instance === undefined ? [] : [instance.stop()])));
    return given;
  }
}

async function provide(descriptor: ServiceDescriptor): Promise<SharedService> {
  const { name, variable } = descriptor;
  const url = process.env[variable];
  if (url !== undefined && url !== '') {
    const started = systemRuntime.monotonic();
    const version = await descriptor.probe(url);
    return {
      name,
      url,
      version,
      origin: variable,
      startedInMs: Math.round(systemRuntime.monotonic() - started),
    };
  }
  const instance = await startInstance(descriptor, await sourceOf(descriptor));
  const { version, origin, startedInMs } = instance;
  return { name, url: instance.url, version, origin, startedInMs, instance };
}
