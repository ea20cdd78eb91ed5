import { askBroker } from './broker.js';
import type { ServiceName } from './descriptor.js';
import { type Instance, type InstanceOptions, startInstance } from './instance.js';
import { descriptorOf, ServiceRegistry } from './registry.js';
import { sourceOf } from './source.js';

/** The servers of a process that runs on its own, such as a benchmark. */
const ownServices = new ServiceRegistry();

/**
 * The address of a server of this kind, shared by the whole test run and started when first asked for. Outside a
 * test run, in a benchmark for example, the server belongs to this process and ends with it.
 *
 * Others use the server at the same time: keep to names of your own, or take a {@link freshDatabase}.
 */
export async function service(name: ServiceName): Promise<string> {
  const { url } = await (askBroker('service', name) ?? ownServices.get(name));
  return url;
}

/**
 * Starts a server of this kind for the caller alone, to be stopped, killed, paused or restarted at will. It ends
 * with this process at the latest. Never the server whose address is in the environment: that one is not ours.
 */
export async function isolated(name: ServiceName, options: InstanceOptions = {}): Promise<Instance> {
  const descriptor = descriptorOf(name);
  return startInstance(descriptor, await (askBroker('source', name) ?? sourceOf(descriptor)), options);
}
