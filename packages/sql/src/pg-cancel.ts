import { connect } from 'node:net';

/** Where a client of `pg` is connected to, and the secret that lets others cancel its statement. */
interface Cancellable {
  readonly host: string;
  readonly port: number;
  readonly processID: number;
  readonly secretKey: number;
}

const CANCEL_REQUEST_CODE = 80_877_102;
const GIVE_UP_AFTER_MS = 10_000;

/**
 * Asks the server to cancel what a client has it do, so that a statement nobody waits for does not go on holding
 * its locks. Best effort, as the protocol has it: no answer comes, and a client that does not show its secret
 * (another driver, a proxy) is left alone. (PostgreSQL manual, 55.2.8 "Canceling Requests in Progress")
 */
export function cancelStatement(client: object): void {
  if (!isCancellable(client)) return;
  const { host, port, processID, secretKey } = client;
  const request = Buffer.alloc(16);
  request.writeInt32BE(request.length, 0);
  request.writeInt32BE(CANCEL_REQUEST_CODE, 4);
  request.writeInt32BE(processID, 8);
  request.writeInt32BE(secretKey, 12);
  const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${String(port)}`) : connect(port, host);
  const give = (): void => {
    socket.destroy();
  };
  socket.unref().setTimeout(GIVE_UP_AFTER_MS, give).once('error', give).end(request);
}

function isCancellable(client: object): client is Cancellable {
  const { host, port, processID, secretKey } = client as Partial<Record<keyof Cancellable, unknown>>;
  return (
    typeof host === 'string' &&
    typeof port === 'number' &&
    typeof processID === 'number' &&
    typeof secretKey === 'number'
  );
}
