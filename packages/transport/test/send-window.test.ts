import { SendWindow } from '@quorate/transport';
import { describe, expect, it } from 'vitest';

describe('a send window', () => {
  it('takes frames in up to its bound, and says what is on its way', () => {
    const window = new SendWindow('peer', 10);
    expect(window.add(6)).toBe('queued');
    expect(window.add(5)).toBe('dropped-full');
    expect(window.add(4)).toBe('queued');
    expect(window.queuedBytes).toBe(10);
    expect(window.remove(6)).toBe(true);
    expect(window.queuedBytes).toBe(4);
  });

  it('does not believe a peer that took more than it was sent', () => {
    const window = new SendWindow('peer', 10);
    window.add(3);
    expect(window.remove(4)).toBe(false);
    expect(window.queuedBytes).toBe(3);
  });

  it('lets a sender wait until the largest frame that was refused would fit, and no longer', async () => {
    const window = new SendWindow('peer', 10);
    await window.writable();
    window.add(5);
    window.add(5);
    expect(window.add(8)).toBe('dropped-full');
    let over = false;
    const waiting = window.writable().then(() => (over = true));
    window.remove(5);
    // As many turns as it could need.
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    expect(over).toBe(false);
    window.remove(5);
    await waiting;
    expect(window.add(8)).toBe('queued');
  });

  it('ends the wait with its session, or with the signal', async () => {
    const window = new SendWindow('peer', 1);
    window.add(1);
    window.add(1);
    const stop = new AbortController();
    const aborted = window.writable(stop.signal);
    const waiting = window.writable();
    stop.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    window.end();
    await expect(waiting).rejects.toMatchObject({ code: 'PEER_DOWN', definite: true, peer: 'peer' });
    await expect(SendWindow.ended('other').writable()).rejects.toMatchObject({
      code: 'PEER_DOWN',
      peer: 'other',
    });
  });
});
