import { HELP, parseArguments, UsageError } from './cli/arguments.js';
import { findScenarios } from './cli/find.js';
import { simulateAll } from './cli/pool.js';
import { serveWork } from './cli/worker.js';

/** What {@link main} needs to know of the program that it is the heart of. */
export interface ProgramOptions {
  /** The path of the program: it is run again, in processes of its own, with the same flags of Node. */
  readonly program: string;
}

/**
 * The command `quorate-simulate`: finds scenarios, runs their seeds in parallel, and reports what fails. Resolves to
 * the exit code: 0 where nothing failed, 1 where a promise was broken, 2 where the arguments make no sense.
 */
export async function main(args: readonly string[], { program }: ProgramOptions): Promise<number> {
  if (args[0] === '--worker') return serveWork();
  try {
    const options = parseArguments(args);
    if (options.help) {
      console.log(HELP);
      return 0;
    }
    const all = await findScenarios(options.files);
    const chosen =
      options.scenarios.length === 0 ? all : all.filter(({ name }) => options.scenarios.includes(name));
    const missing = options.scenarios.filter((name) => !all.some((one) => one.name === name));
    if (missing.length > 0 || chosen.length === 0) {
      const names = all.map(({ name }) => name).join(', ');
      throw new UsageError(
        missing.length > 0
          ? `no scenario is called ${missing.join(', ')}; there are: ${names === '' ? 'none' : names}`
          : 'no scenarios found; they are exported as `scenarios` from files named *.scenario.ts, .mts, .js or .mjs',
      );
    }
    if (options.list) {
      for (const { name, file } of chosen) console.log(`${name}  ${file}`);
      return 0;
    }
    return (await simulateAll(chosen, options, program)) ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    return 2;
  }
}
