import type { TestProject } from 'vitest/node';
import { startBroker } from './broker.js';
import { provisionFor } from './provision.js';

/** Vitest's hook around a run: lends servers to its test files, then stops them and says which were used. */
export default async function setup({ vitest }: TestProject): Promise<() => Promise<void>> {
  await provisionFor(vitest.state.getPaths().filter((path) => path.includes('/integration/')));
  const broker = await startBroker();
  return async () => {
    for (const { name, version, origin, startedInMs } of await broker.close()) {
      console.log(`[services] ${name} ${version} (${origin}), ready after ${String(startedInMs)} ms`);
    }
  };
}
