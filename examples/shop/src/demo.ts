import { systemRuntime } from '@quorate/runtime';
import { ArgumentError, parseDemoArgs, USAGE } from './demo/args.js';
import { runDemo } from './demo/run.js';

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

process.exitCode = await main();

async function main(): Promise<number> {
  let options;
  try {
    options = parseDemoArgs(process.argv.slice(2), () => Math.floor(systemRuntime.random() * 1_000_000));
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    return 2;
  }
  if (options === 'help') {
    console.log(USAGE);
    return 0;
  }

  const stopping = new AbortController();
  let interrupted: number | undefined;
  for (const [name, code] of Object.entries(SIGNALS)) {
    process.on(name, () => {
      // Whoever asks twice does not want to wait: the services and the server end by themselves once we are gone.
      if (interrupted !== undefined) process.exit(code);
      interrupted = code;
      stopping.abort(new Error(`Stopped by ${name}`));
    });
  }
  // A reader such as `head` that has seen enough.
  process.stdout.on('error', () => stopping.abort(new Error('The output was closed')));

  try {
    const code = await runDemo(options, process.stdout, process.env, stopping.signal);
    return options.keep ? code : (interrupted ?? code);
  } catch (error) {
    console.error(`\n${(error as Error).message}`);
    return interrupted ?? 1;
  }
}
