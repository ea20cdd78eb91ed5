import diagnostics from 'node:diagnostics_channel';
import { describe, expect, it } from 'vitest';
import { eventChannel, InvalidOptionError } from '@quorate/runtime';

describe('eventChannel', () => {
  it('reaches its subscribers until they leave, and knows whether anybody listens', () => {
    const channel = eventChannel<{ n: number }>('runtime', 'test-reach');
    const seen: number[] = [];
    expect(channel.active).toBe(false);
    const leave = channel.subscribe(({ n }) => seen.push(n));
    expect(channel.active).toBe(true);
    channel.publish({ n: 1 });
    leave();
    leave();
    channel.publish({ n: 2 });
    expect(channel.active).toBe(false);
    expect(seen).toEqual([1]);
  });

  it('is an ordinary diagnostics channel under quorate:<package>:<event>', () => {
    const channel = eventChannel<string>('runtime', 'test-name');
    expect(channel.name).toBe('quorate:runtime:test-name');
    const seen: unknown[] = [];
    const listen = (message: unknown): void => void seen.push(message);
    diagnostics.subscribe(channel.name, listen);
    channel.publish('hello');
    eventChannel<string>('runtime', 'test-name').publish('from another copy');
    diagnostics.unsubscribe(channel.name, listen);
    expect(seen).toEqual(['hello', 'from another copy']);
  });

  it('refuses names that nobody could subscribe to', () => {
    expect(() => eventChannel('Runtime', 'x')).toThrow(InvalidOptionError);
    expect(() => eventChannel('runtime', 'a:b')).toThrow('event must be');
  });
});
