import { parseArgs } from 'node:util';
import { systemRuntime } from '@quorate/runtime';
import { runDemo } from './demo/run.js';
import { CORE_NAMES, isCoreName } from './node/cores.js';

const USAGE = `Three nodes of a key-value store under load, whose leader is killed with SIGKILL again and again.

  --core NAME       the protocol: ${CORE_NAMES.join(', ')} (default raft)
  --seconds N       how long, 1 to 3600 (default 20)
  --kill-every S    seconds between two kills, on average, 0.1 to 3600 (default 3)
  --clients N       clients that work at the same time, 1 to 256 (default 8)
  --seed N          decides what the clients do and when the leader is killed (default: a new one, which is printed)

Exit codes: 0 what the clients saw is linearizable and all nodes agree, 1 it is not, or they do not, 2 a flag is wrong,
130 interrupted.
`;

process.exitCode = await main();

async function main(): Promise<number> {
  let flags;
  try {
    flags = parseArgs({
      options: {
        core: { type: 'string', default: 'raft' },
        seconds: { type: 'string', default: '20' },
        'kill-every': { type: 'string', default: '3' },
        clients: { type: 'string', default: '8' },
        seed: { type: 'string', default: String(Math.floor(systemRuntime.random() * 1_000_000)) },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    return wrong((error as Error).message);
  }
  if (flags.help) {
    console.log(USAGE);
    return 0;
  }
  const { core } = flags;
  if (!isCoreName(core)) return wrong(`--core is one of ${CORE_NAMES.join(', ')}, not ${core}`);
  const bounds = {
    seconds: [1, 3_600],
    'kill-every': [0.1, 3_600],
    clients: [1, 256],
    seed: [0, 2 ** 32 - 1],
  } as const;
  for (const [flag, [min, max]] of Object.entries(bounds)) {
    const text = flags[flag as keyof typeof bounds];
    const value = Number(text);
    if (text.trim() === '' || !(value >= min && value <= max))
      return wrong(
        `--${flag} is a number from ${String(min)} to ${String(max)}, not ${JSON.stringify(text)}`,
      );
  }

  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(name, () => stop.abort(new Error(`Stopped by ${name}`)));
  process.stdout.on('error', () => stop.abort(new Error('The output was closed')));
  try {
    const report = await runDemo(
      {
        core,
        seconds: Number(flags.seconds),
        killEvery: Number(flags['kill-every']),
        clients: Math.round(Number(flags.clients)),
        seed: Math.round(Number(flags.seed)),
      },
      process.stdout,
      stop.signal,
    );
    return report.linearizable && report.agreed ? 0 : 1;
  } catch (error) {
    console.error((error as Error).message);
    return stop.signal.aborted ? 130 : 1;
  }
}

function wrong(message: string): number {
  console.error(`${message}\n\n${USAGE}`);
  return 2;
}
