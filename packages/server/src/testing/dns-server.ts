/** A small DNS server on loopback for tests: real packets over UDP, with records that a test may change at any time. */
import { createSocket } from "node:dgram";
import type { AddressInfo } from "node:net";
import { type Answer, decode, encode } from "dns-packet";

export interface DnsServer extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** What is answered; a name without records of the asked type gets an empty answer. */
  records: readonly Answer[];
}

const authoritativeAnswer = 1 << 10;

export async function startDnsServer(records: readonly Answer[] = []): Promise<DnsServer> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const server: DnsServer = {
    address: `127.0.0.1:${(socket.address() as AddressInfo).port}`,
    records,
    [Symbol.asyncDispose]: () => new Promise((resolve) => socket.close(() => resolve())),
  };
  socket.on("message", (message, from) => {
    const { id, questions = [] } = decode(message);
    const asked = (answer: Answer) =>
      questions.some(({ name, type }) => name === answer.name && type === (answer.type as string));
    const answers = server.records.filter(asked);
    socket.send(
      encode({ type: "response", id: id ?? 0, flags: authoritativeAnswer, questions, answers }),
      from.port,
      from.address,
    );
  });
  return server;
}
