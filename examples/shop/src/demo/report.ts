import { SERVICES } from '../lib/names.js';
import type { DemoOptions } from './args.js';
import type { Check } from './audit.js';
import type { Databases } from './databases.js';
import type { Addresses } from './processes.js';
import { type Progress, seconds } from './progress.js';
import { pad, type Paint, widthOf } from './terminal.js';

/** More findings than this of one check do not help anybody. */
const SHOWN_PROBLEMS = 10;

/** The audit as a table, and below it what broke. */
export function auditTable(checks: readonly Check[], paint: Paint): string[] {
  const cells = checks.map(({ name, figures, problems }) => ({
    name,
    figures,
    verdict: problems.length === 0 ? paint('green', 'ok') : paint('red', `${String(problems.length)} wrong`),
  }));
  const nameWidth = Math.max(5, ...cells.map(({ name }) => widthOf(name)));
  const verdictWidth = Math.max(7, ...cells.map(({ verdict }) => widthOf(verdict)));
  const row = (name: string, verdict: string, figures: string): string =>
    `  ${pad(name, nameWidth)}  ${pad(verdict, verdictWidth)}  ${figures}`;
  return [
    paint('bold', row('Audit', 'Result', 'Figures')),
    ...cells.map(({ name, figures, verdict }) => row(name, verdict, figures)),
    ...checks.filter(({ problems }) => problems.length > 0).flatMap((check) => broken(check, paint)),
  ];
}

function broken({ name, problems }: Check, paint: Paint): string[] {
  const more = problems.length - SHOWN_PROBLEMS;
  return [
    '',
    paint('red', `✗ ${name}`),
    ...problems.slice(0, SHOWN_PROBLEMS).map((problem) => `    ${problem}`),
    ...(more > 0 ? [`    and ${String(more)} more`] : []),
  ];
}

/** What happened, before the audit says whether it was right. */
export function summary(options: DemoOptions, progress: Progress, elapsedMs: number): string[] {
  const { paint, confirmed, cancelled, reasons, services } = progress;
  const why = [...reasons]
    .sort(([, a], [, b]) => b - a)
    .map(([reason, times]) => `${String(times)} ${reason}`)
    .join(', ');
  const kills = SERVICES.map((name) => `${name} ${String(services[name].kills)}×`).join(', ');
  return [
    '',
    `  ${pad('orders', 11)}${String(confirmed)} confirmed, ${String(cancelled)} cancelled${why === '' ? '' : ` (${why})`}`,
    `  ${pad('SIGKILLs', 11)}${progress.kills === 0 ? 'none' : kills}`,
    `  ${pad('time', 11)}${seconds(elapsedMs)}`,
    `  ${pad('again', 11)}${paint('dim', commandOf(options))}`,
    '',
  ];
}

function commandOf({ orders, killEvery, seed }: DemoOptions): string {
  return `npm run demo -- --seed ${String(seed)} --orders ${String(orders)} --kill-every ${String(killEvery)}`;
}

/** What one can do with a shop that was left running. */
export function playground({ http }: Addresses, { urls }: Databases): string[] {
  return [
    '',
    'The shop is left running; Ctrl-C stops it. For example:',
    '',
    `  curl -s ${http.payment}/accounts/deposit -H 'content-type: application/json' \\`,
    `    -d '{"reference":"my-first","account":"me","amount":50000}'`,
    `  curl -s '${http.order}/orders?wait=5000' -H 'content-type: application/json' -H 'idempotency-key: order-1' \\`,
    `    -d '{"account":"me","email":"me@example.org","lines":[{"sku":"kettle","quantity":1}]}'`,
    `  curl -s ${http.notification}/notifications?limit=3`,
    '',
    ...SERVICES.map((name) => `  psql '${urls[name]}'`),
    '',
  ];
}
