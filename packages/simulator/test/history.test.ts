import { drawHistory, drawRun, History, mapModel, registerModel, Simulation } from '@quorate/simulator';
import { describe, expect, it } from 'vitest';

const value = 1;

describe('a history', () => {
  it('records as Jepsen does: ok, fail and info; what is open stays unknown', () => {
    const history = new History('h', registerModel, () => 5);
    history.invoke('a', { type: 'write', value }).ok(undefined);
    history.invoke('b', { type: 'write', value }).fail(new Error('refused'));
    history.invoke('c', { type: 'write', value }).info('timeout');
    const open = history.invoke('d', { type: 'read' });
    expect(history.events.map(({ type, operation }) => `${type} ${String(operation)}`)).toEqual([
      'invoke 0',
      'ok 0',
      'invoke 1',
      'fail 1',
      'invoke 2',
      'info 2',
      'invoke 3',
    ]);
    expect(history.operations().map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ['ok', undefined],
      ['fail', 'refused'],
      ['unknown', 'timeout'],
      ['unknown', undefined],
    ]);
    open.ok(1);
    expect(() => {
      open.info();
    }).toThrow('SIMULATION_STATE');
    expect(history.check().linearizable).toBe(true);
  });

  it('tells what came before in the same millisecond', () => {
    const history = new History('h', registerModel, () => 0);
    history.invoke('a', { type: 'write', value }).ok(undefined);
    history.invoke('b', { type: 'read' }).ok(undefined);
    expect(history.check().result).toBe('not-linearizable');
  });

  it('takes what certainly did not happen for a failure, and any other error for unknown', async () => {
    const history = new History('h', registerModel, () => 0);
    const write = (error: Error) =>
      history
        .record('a', { type: 'write', value }, () => Promise.reject(error))
        .catch((reason: unknown) => reason);
    const definite = Object.assign(new Error('down'), { definite: true });
    expect(await write(definite)).toBe(definite);
    await write(new Error('timeout'));
    expect(await history.record('a', { type: 'read' }, () => Promise.resolve(1))).toBe(1);
    expect(history.operations().map(({ outcome }) => outcome)).toEqual(['fail', 'unknown', 'ok']);
  });

  it('is judged at the end of a run, with the key and the operations in the message', () => {
    const simulation = new Simulation({ seed: 1 });
    const history = simulation.history(mapModel, 'store');
    history.invoke('a', { type: 'write', key: 'k', value }).ok(undefined);
    history.invoke('b', { type: 'read', key: 'k' }).ok(undefined);
    history.invoke('b', { type: 'read', key: 'other' }).ok(undefined);
    expect(() => simulation.judge()).toThrow(
      /linearizability: no order explains 2 operations of "k" of store/,
    );
  });
});

describe('a page', () => {
  it('holds everything itself, and nothing that was said can end its script', () => {
    const simulation = new Simulation({ seed: 1 });
    const history = simulation.history(registerModel, '<b>&');
    history.invoke('a', { type: 'write', value: '</script><script>alert(1)</script>' }).ok(undefined);
    history.invoke('b', { type: 'read' }).ok('stale');
    const html = drawRun(simulation, { scenario: '"s"<i>', failure: new Error('<x>'), replay: 'run it' });
    expect(html.match(/<script>/g)).toHaveLength(1);
    expect(html.match(/<\/script>/g)).toHaveLength(1);
    expect(html).toContain('&quot;s&quot;&lt;i&gt;, seed 1');
    expect(html).not.toMatch(/<b>&|<x>|<i>/);
    expect(html).not.toMatch(/(?:src|href)=/);
    expect(html).toContain('Not linearizable');
    const data = /const data = (\{.*\});\n/.exec(html)?.[1];
    expect(JSON.parse(data ?? '')).toMatchObject({
      pictures: [{ bars: [{ core: false }, { core: true, label: 'read → "stale"' }] }],
    });
    expect(drawHistory(history)).toContain('<title>&lt;b&gt;&amp;</title>');
    expect(() => drawHistory(new History('empty', registerModel, () => 0))).toThrow('SIMULATION_STATE');
  });
});
