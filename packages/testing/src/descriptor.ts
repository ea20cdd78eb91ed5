import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Command } from './supervised.js';

/** The servers that tests can ask for. `mysql` is MariaDB unless the environment names MySQL. */
export type ServiceName =
  'postgres' | 'mysql' | 'redis' | 'rabbitmq' | 'nats' | 'mqtt' | 'etcd' | 'pgbouncer';

/** Where a private instance lives. */
interface Place {
  /** What {@link ServiceDescriptor.locate} found. */
  readonly program: string;
  /** An empty folder of its own. */
  readonly folder: string;
  /** Free ports on 127.0.0.1, as many as the descriptor asks for. */
  readonly ports: readonly [number, ...number[]];
  /** Settings of the server, over those of the descriptor. */
  readonly settings: Readonly<Record<string, string>>;
}

/** How a private instance is started and stopped. */
export interface Plan {
  /** Files to write into the folder before anything runs, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Commands that fill the folder, run once. */
  readonly initialise?: readonly Command[];
  readonly run: Command;
  /** @defaultValue SIGTERM */
  readonly stopSignal?: NodeJS.Signals;
  /** Runs after the server ended, for what it leaves behind. */
  readonly cleanup?: Command;
}

/** Everything there is to know about one kind of server. A new kind is one file with one of these. */
export interface ServiceDescriptor {
  readonly name: ServiceName;
  /** The environment variable that holds the address of a server to use instead of starting one. */
  readonly variable: string;
  /** The Debian package that brings it. */
  readonly debianPackage: string;
  /**
   * How many ports an instance needs.
   * @defaultValue 1
   */
  readonly ports?: number;
  /** Whether the server refuses to run as root. */
  readonly unprivileged?: boolean;
  /** The program, or the folder of its programs, when it is on this machine. */
  locate(): string | undefined;
  /** How to run an instance in a place of its own. */
  plan(place: Place): Plan;
  /** The address of a private instance or a container that listens on 127.0.0.1. */
  url(port: number): string;
  /** Asks a server for its version; rejects while it cannot serve. */
  probe(url: string): Promise<string>;
}

/** The full path of an executable, also in the folders that only root has in its PATH. */
export function which(name: string): string | undefined {
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}
