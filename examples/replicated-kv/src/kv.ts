import { runClient } from './client/run.js';

const stop = new AbortController();
process.on('SIGINT', () => stop.abort());
process.stdout.on('error', () => process.exit(0));
process.exitCode = await runClient(process.argv.slice(2), process.env, {
  out: (line) => console.log(line),
  err: (line) => console.error(line),
  signal: stop.signal,
});
