import { join } from 'node:path';
import { type ServiceDescriptor, which } from '../descriptor.js';
import { firstBytes } from './socket.js';

/** A CONNECT packet of MQTT 3.1.1 with a clean session, no keep-alive and an empty client identifier. */
const CONNECT = '\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00';

/** Mosquitto for anonymous clients, on 127.0.0.1 only. */
export const mqtt: ServiceDescriptor = {
  name: 'mqtt',
  variable: 'MQTT_URL',
  debianPackage: 'mosquitto',
  locate: () => which('mosquitto'),
  plan: ({ program, folder, ports }) => ({
    files: { conf: `listener ${String(ports[0])} 127.0.0.1\nallow_anonymous true\nuser root\n` },
    run: { command: program, args: ['-c', join(folder, 'conf')] },
  }),
  url: (port) => `mqtt://127.0.0.1:${String(port)}`,
  async probe(url) {
    const answer = await firstBytes(url, 1883, CONNECT);
    if (answer[0] !== 0x20) throw new Error('not an MQTT server');
    // The protocol has no place for the broker's version.
    return 'MQTT 3.1.1';
  },
};
