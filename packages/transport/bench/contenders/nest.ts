import 'reflect-metadata';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ClientProxyFactory,
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  Transport,
} from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import { type Contender, TEXT } from './contender.js';

let count = (): void => {};

/** Decorators are applied by hand: the benchmark's compiler does not emit the legacy ones. */
class EchoController {
  echo(text: string): string {
    return text;
  }

  count(): void {
    count();
  }
}
function decorate(method: 'echo' | 'count', decorator: MethodDecorator): void {
  const descriptor = Object.getOwnPropertyDescriptor(EchoController.prototype, method);
  if (descriptor !== undefined) decorator(EchoController.prototype, method, descriptor);
}
decorate('echo', MessagePattern('echo'));
decorate('count', EventPattern('count'));
Controller()(EchoController);

class EchoModule {
  readonly description = 'the application';
}
Module({ controllers: [EchoController] })(EchoModule);

export const nest: Contender = {
  async serve(received) {
    count = received;
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- its options are an object by all its documentation
    const app = await NestFactory.createMicroservice<MicroserviceOptions>(EchoModule, {
      transport: Transport.TCP,
      options: { host: '127.0.0.1', port },
      logger: false,
    });
    await app.listen();
    return { port };
  },
  async connect(port) {
    const client = ClientProxyFactory.create({
      transport: Transport.TCP,
      options: { host: '127.0.0.1', port },
    });
    await client.connect();
    let batch = 0;
    let last: Promise<unknown> = Promise.resolve();
    return {
      request: () => firstValueFrom(client.send('echo', TEXT)),
      send: () => {
        last = firstValueFrom(client.emit('count', TEXT), { defaultValue: undefined });
        return ++batch % 64 !== 0;
      },
      ready: async () => {
        await last;
        await new Promise((resolve) => setImmediate(resolve));
      },
    };
  },
};
