import { chmodSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import { startBroker } from './broker.js';
import { provisionFor } from './provision.js';
import { Supervisor } from './supervised.js';

/** Vitest's hook around a run: lends servers to its test files, then stops them and says which were used. */
export default async function setup({ vitest }: TestProject): Promise<() => Promise<void>> {
  await provisionFor(vitest.state.getPaths().filter((path) => path.includes('/integration/')));
  const broker = await startBroker();
  // What the tests leave behind goes with the run, however that ends. Servers run as others and have to get through.
  const folder = await Supervisor.shared().folder('quorate-tests-');
  chmodSync(folder, 0o755);
  const { TMPDIR } = process.env;
  process.env['TMPDIR'] = folder;
  return async () => {
    if (TMPDIR === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = TMPDIR;
    await Supervisor.shared().remove(folder);
    for (const { name, version, origin, startedInMs } of await broker.close()) {
      console.log(`[services] ${name} ${version} (${origin}), ready after ${String(startedInMs)} ms`);
    }
  };
}
