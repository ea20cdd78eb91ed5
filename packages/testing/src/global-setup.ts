import { startBroker } from './broker.js';

/** Vitest's hook around a run: lends servers to its test files, then stops them and says which were used. */
export default async function setup(): Promise<() => Promise<void>> {
  const broker = await startBroker();
  return async () => {
    for (const { name, version, origin, startedInMs } of await broker.close()) {
      console.log(`[services] ${name} ${version} (${origin}), ready after ${String(startedInMs)} ms`);
    }
  };
}
