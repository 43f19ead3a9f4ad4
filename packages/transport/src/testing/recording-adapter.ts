/** An adapter around another one that knows which connections are open, so that a test can end them as a network does. */
import type { Connection, TransportAdapter } from "../transport-types.ts";

export interface RecordingAdapter extends TransportAdapter {
  /** The open connections, dialled and accepted ones. */
  readonly open: ReadonlySet<Connection>;
}

export function createRecordingAdapter(inner: TransportAdapter): RecordingAdapter {
  const open = new Set<Connection>();
  const record = (connection: Connection) => {
    open.add(connection);
    void connection.closed.then(() => open.delete(connection));
    return connection;
  };
  return {
    kind: inner.kind,
    endpointId: inner.endpointId,
    ...(inner.choices === undefined ? {} : { choices: inner.choices }),
    open,
    addresses: () => inner.addresses(),
    listen: (onConnection, doorkeeper) => inner.listen((connection) => onConnection(record(connection)), doorkeeper),
    connect: async (to, lane, options) => record(await inner.connect(to, lane, options)),
    close: () => inner.close(),
  };
}
